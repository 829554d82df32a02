"""The leader of another stack: what its outputs say, read and judged at preview.

A stack of followers takes endpoints, shared folder, secret, network and release from the output ``join`` of the stack
that has the leader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.endpoint import Endpoint
from model.settings.aws import JoinedSettings
from model.settings.hosts import JoinedHostsSettings
from model.settings.read import AnySettings

JOIN_VERSION = 2
"""Raised when a stack of followers of the old version would go wrong."""


class LeaderStackError(Exception):
    """A stack that has no leader to join; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class LeaderStack:
    """What the stack of a leader offers to followers of other stacks."""

    name: str
    """Full name of that stack."""

    postgres: Endpoint
    """The leader's PostgreSQL."""

    redis: Endpoint
    """The leader's Redis."""

    document: Mapping[str, Any]
    """The output ``join``, plain: what the site of the leader says, and ``cluster`` and ``release``."""


def leader_stack_of(settings: AnySettings) -> LeaderStack | None:
    """The stack that has the leader of a stack of followers; None for a cluster with a leader of its own."""
    if isinstance(settings, JoinedSettings | JoinedHostsSettings):
        return read_leader_stack(settings.leader_stack, settings.site)
    return None


def read_leader_stack(name: str, site: str) -> LeaderStack:
    """The leader of the stack *name*, which must be on *site*. Raises :class:`LeaderStackError`.

    The values are plain: placement needs zones before anything can be made, and a wrong one is told at preview.
    """
    outputs = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value
    document = judged(name, site, (outputs or {}).get("outputs", {}).get("join"))
    reference = pulumi.StackReference("leader-stack", stack_name=name)
    return LeaderStack(
        name=name,
        postgres=_endpoint(reference, "postgres", document),
        redis=_endpoint(reference, "redis", document),
        document=document,
    )


def judged(name: str, site: str, found: object) -> Mapping[str, Any]:
    """The output ``join``, if it can be used."""
    again = f"`./cluster up {name.rpartition('/')[2]}`"
    if found is None:
        raise LeaderStackError(
            f"leaderStack: the stack {name} has no leader: it was never deployed, or was destroyed, or it is a stack "
            f"of followers itself, or of an older version of this program. {again} with this version deploys one"
        )
    if not isinstance(found, Mapping) or found.get("version") != JOIN_VERSION:
        # Every number of an output comes back as a float.
        number = found.get("version") if isinstance(found, Mapping) else None
        version = f"{number:g}" if isinstance(number, int | float) else "unknown"
        raise LeaderStackError(
            f"leaderStack: the stack {name} was deployed by another version of this program (its output join is of "
            f"version {version}, this program reads {JOIN_VERSION}). Use that version here, or {again} with this one"
        )
    if found.get("site") != site:
        raise LeaderStackError(
            f"leaderStack: the leader of {name} is on the site {found.get('site')!r}, these followers on {site!r}; a "
            "cluster is on one site"
        )
    return found


def _endpoint(reference: pulumi.StackReference, name: str, document: Mapping[str, Any]) -> Endpoint:
    port = int(document[name]["port"])
    return Endpoint(
        host=reference.require_output(name).apply(lambda found: str(found["host"])), port=port
    )
