"""Reading a stack file: all its keys become the settings of its site, or everything that is wrong with them is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from pydantic import ValidationError

from model.problems import Finding, Problem, SettingsError, shown, without_consequences
from model.settings.aws import JoinedSettings, Settings
from model.settings.aws_rules import broken_joined_rules, broken_rules
from model.settings.fields import findings_of, repaired
from model.settings.hosts import HostsSettings, JoinedHostsSettings
from model.settings.hosts_rules import broken_hosts_rules, broken_joined_hosts_rules
from model.settings.sections import Section

_Settings = TypeVar("_Settings", bound=Section)

AnySettings = Settings | JoinedSettings | HostsSettings | JoinedHostsSettings
"""The settings of a stack file, of whatever site, with a leader or without."""


@cache
def keys_of_any_site() -> frozenset[str]:
    """Every key that a stack file may have at its top, on whatever site."""
    models = (Settings, JoinedSettings, HostsSettings, JoinedHostsSettings)
    return frozenset(str(field.alias) for model in models for field in model.model_fields.values())


def given(config: Mapping[str, str], project: str) -> dict[str, object]:
    """The keys of a stack file as Pulumi hands them over, `<project>:<key>` to JSON or plain text.

    Misspelt ones are there too, so that they are refused. Pulumi.yaml's defaults are of both sites,
    and what is empty says nothing.
    """
    found: dict[str, object] = {}
    for key, text in config.items():
        namespace, _, name = key.partition(":")
        if namespace == project:
            try:
                found[name] = json.loads(text)
            except ValueError:
                found[name] = text
    return {
        name: value
        for name, value in found.items()
        if value not in ("", {}) or name not in keys_of_any_site()
    }


def parse(raw: Mapping[str, object]) -> AnySettings:
    """The settings of a stack file, given as its keys without the `graphistry-cluster:` prefix.

    Raises `SettingsError` with every problem at once, whatever `raw` is. To find the problems that
    span several keys even when single keys are wrong, the rules run over a copy in which each
    wrong value is replaced by its default, and a rule that looked at a replaced value is not
    reported.
    """
    if not isinstance(raw, Mapping):
        raise SettingsError((Problem("(the whole file)", shown(raw), "a map of settings"),))
    joined, on_hosts = raw.get("leaderStack") is not None, raw.get("site") == "hosts"
    if joined and "leader" in raw:
        both = "a leader and the stack of another leader"
        hint = "keep `leader` for a cluster of its own, `leaderStack` for followers of another's"
        raise SettingsError((Problem("leaderStack", both, "one of the two", hint),))
    if on_hosts and joined:
        return _sound(raw, JoinedHostsSettings, broken_joined_hosts_rules)
    if on_hosts:
        return _sound(raw, HostsSettings, broken_hosts_rules)
    if joined:
        return _sound(raw, JoinedSettings, broken_joined_rules)
    return _sound(raw, Settings, broken_rules)


def _sound(
    raw: Mapping[str, object],
    model: type[_Settings],
    rules: Callable[[_Settings], tuple[Finding, ...]],
) -> _Settings:
    """The settings in *raw*, unless a key or a rule is broken."""
    try:
        settings = _validated(raw, model)
        wrong: tuple[Finding, ...] = ()
    except ValidationError as error:
        wrong = findings_of(error, model)
        settings = _validated(repaired(raw, error, model), model)
    findings = wrong + without_consequences(rules(settings), wrong)
    if findings:
        raise SettingsError(tuple(finding.problem for finding in findings))
    return settings


def _validated(raw: Mapping[str, object], model: type[_Settings]) -> _Settings:
    return model.model_validate(dict(raw), by_alias=True, by_name=False)
