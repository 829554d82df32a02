"""The policy documents that the program would make, and what is in them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.components.test_contracts import ON_HOSTS, STACKS
from tests.conftest import deploy_changed
from tests.harness import Registration
from tests.policy.changes import registrations

Kind = Literal["identity", "resource", "trust"]
"""What a policy is attached to: a role, a resource, or a role as what lets others take it."""

RESOURCE_POLICIES = {"BucketPolicy", "FileSystemPolicy", "SecretPolicy"}

VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    **{stack: (stack, {}) for stack in STACKS if stack not in ON_HOSTS},
    "archive in S3": (
        "prod",
        {
            "release": {
                "version": "2.50.1",
                "cuda": "12",
                "source": "s3://releases/graphistry-2.50.1.tar.gz",
                "sha256": "0" * 64,
            }
        },
    ),
    "own key and logged shells": (
        "prod",
        {
            "encryptionKey": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000",
            "shells": {"logged": True},
        },
    ),
    "existing file system": ("prod", {"sharedFolder": {"fileSystemId": "fs-0123456789abcdef0"}}),
}
"""Every stack file on AWS, and the settings by which a policy differs: stack file and changed keys."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One policy document."""

    name: str
    """Name of the resource that has it."""

    kind: Kind
    role: str | None
    """Name of the role that it is attached to, if it is an identity policy."""

    text: str

    @property
    def statements(self) -> list[dict[str, Any]]:
        """Its statements."""
        found: list[dict[str, Any]] = json.loads(self.text)["Statement"]
        return found


@functools.cache
def variant(name: str) -> tuple[Registration, ...]:
    """The registrations of a variant."""
    stack, changes = VARIANTS[name]
    if not changes:
        return registrations(stack)
    with pytest.MonkeyPatch.context() as patch:
        return tuple(deploy_changed(patch, stack, changes, preview=False))


def policies(made: Sequence[Registration]) -> Iterator[Policy]:
    """The policies among registrations."""
    for each in made:
        for key in ("policy", "assumeRolePolicy"):
            if each.type.startswith("aws:") and key in each.inputs:
                resource = each.kind in RESOURCE_POLICIES
                yield Policy(
                    name=each.name,
                    kind="trust" if key != "policy" else "resource" if resource else "identity",
                    role=_role(each) if each.kind == "RolePolicy" else None,
                    text=each.inputs[key],
                )


def listed(value: Any) -> list[str]:
    """A member of a statement that may be one text or several, as a list."""
    return [value] if isinstance(value, str) else list(value or [])


def condition_keys(statement: Mapping[str, Any]) -> set[str]:
    """Keys of a statement's conditions, whatever the operators."""
    return {key for operator in statement.get("Condition", {}).values() for key in operator}


def _role(policy: Registration) -> str:
    (urn,) = policy.property_dependencies["role"]
    return urn.rsplit("::", 1)[-1]
