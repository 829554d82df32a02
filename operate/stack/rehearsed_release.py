"""Where the release of a rehearsal is: in the sandbox's own S3, whatever the stack file says of a real account.

What `./cluster publish` has stored there is remembered below `.sandbox`, for the release that it was made for. The
stacks that are at home in the sandbox get a stand-in by themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.settings.aws import JoinedSettings, Settings
from model.settings.hosts import JoinedHostsSettings
from model.settings.read import AnySettings
from model.settings.sections import Release
from model.settings.stack_keys import PROJECT
from operate.release.release_archive import object_key
from operate.release.release_bucket import default_bucket
from operate.stack.stack_file import settings_of
from operate.stack.stack_yaml import parsed
from sandbox.account import ACCOUNT
from sandbox.machines.files import write
from sandbox.machines.image import release_cache
from sandbox.release import build_release


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """A release whose archive is in the sandbox's S3."""

    release: Release
    stand_in: Path | None = None
    """The archive to publish there when it is not there yet."""


def rehearsed_release(
    sandbox: Path, stack: str, settings: Settings, region: str, *, at_home: bool
) -> Rehearsed | None:
    """The release that a rehearsal of a stack on AWS fetches; None where it is as its file says.

    With *at_home* the stack is one of the sandbox's own, which rehearses no account's.
    """
    wanted = settings.release
    published = remembered(sandbox, stack)
    if published and (published.version, published.cuda) == (wanted.version, wanted.cuda):
        return Rehearsed(release=published)
    if not at_home or wanted.source != "preinstalled" or settings.image.has_release(region):
        return None
    file = stand_in(wanted)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    bucket = default_bucket(ACCOUNT, region)
    key = object_key(wanted.version, wanted.cuda, sha256, ".tar.gz")
    where = {"source": f"s3://{bucket}/{key}", "sha256": sha256}
    return Rehearsed(release=wanted.model_copy(update=where), stand_in=file)


def stand_in(release: Release) -> Path:
    """The archive of the stand-in of a release, built once per user."""
    return build_release(release_cache(), release.version, release.cuda)


def remembered(sandbox: Path, stack: str) -> Release | None:
    """What `./cluster publish` has stored for the rehearsal of a stack."""
    try:
        return Release.model_validate(json.loads(_file(sandbox, stack).read_text()))
    except (OSError, ValueError):
        return None


def remember(sandbox: Path, stack: str, release: Release) -> None:
    """Let rehearsals of a stack fetch a release from now on."""
    file = _file(sandbox, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, release.model_dump(by_alias=True))


def with_release(config: Mapping[str, Any], release: Release) -> dict[str, Any]:
    """The keys of a stack file with another release."""
    return {**config, f"{PROJECT}:release": release.model_dump(by_alias=True)}


def release_of_cluster(sandbox: Path, settings: AnySettings) -> Release | None:
    """The release of a stack file; of a joined stack that of its leader's as it was rehearsed last, None before."""
    if not isinstance(settings, JoinedSettings | JoinedHostsSettings):
        return settings.release
    leader = settings.leader_stack.rpartition("/")[2]
    try:
        text = (sandbox / "stacks" / f"Pulumi.{leader}.yaml").read_text()
    except OSError:
        return None
    found = settings_of(parsed(text)["config"])
    return None if isinstance(found, JoinedSettings | JoinedHostsSettings) else found.release


def _file(sandbox: Path, stack: str) -> Path:
    return sandbox / "published" / f"{stack}.json"
