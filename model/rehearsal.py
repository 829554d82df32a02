"""The release of a rehearsal as plain Pulumi is told of it; the program imports nothing of the sandbox's."""

from __future__ import annotations

from collections.abc import Mapping

from model.settings.aws import Settings
from model.settings.read import AnySettings
from model.settings.sections import Release

DONE = "GRAPHISTRY_CLUSTER_PREFLIGHT"
"""Variable by which the operator's commands tell the program that the preflight was made."""

VARIABLE = "GRAPHISTRY_REHEARSED_RELEASE"
"""Where `./cluster environment` says it, for the shell in which plain Pulumi reads the user's stack file."""


def told(release: Release) -> dict[str, str]:
    """The variable for a release."""
    return {VARIABLE: release.model_dump_json(by_alias=True)}


def as_told(settings: AnySettings, environment: Mapping[str, str]) -> AnySettings:
    """The settings with the release that an environment tells of, where the stack file names no archive itself."""
    text = environment.get(VARIABLE)
    if not text or not isinstance(settings, Settings):
        return settings
    wanted, release = settings.release, Release.model_validate_json(text)
    same = (wanted.version, wanted.cuda) == (release.version, release.cuda)
    if not same or wanted.source != "preinstalled":
        return settings
    return settings.model_copy(update={"release": release})
