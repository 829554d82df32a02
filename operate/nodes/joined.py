"""Stacks of followers and the stack that has their leader: who depends on whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model.problems import UserError
from model.settings.aws import JoinedSettings
from model.settings.hosts import JoinedHostsSettings
from model.settings.sections import Release
from model.specification import RUN_AGENT
from model.tags import CLUSTER_TAG, LEADER_TAG
from operate.hosts.connected import Hosts
from operate.stack.deployment import Deployment

GUESTS = f"sudo -n {RUN_AGENT} guests"


def leader_of_another_stack(
    opened: Deployment, outputs: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The output ``join`` of the stack that has the leader; None where this stack has it itself."""
    name = outputs.get("leaderStack")
    if name is None:
        return None
    shown = _outputs(opened, name)
    if "join" not in shown:
        raise UserError(f"the leader's stack {name} is not deployed any more")
    found: Mapping[str, Any] = shown["join"]
    return found


def cluster_of(opened: Deployment) -> str:
    """The cluster whose nodes the stack has: its own, or the one of the stack that has the leader.

    Raises :class:`UserError` where the stack that has the leader is none; of it Pulumi says no more than its name.
    """
    return _cluster(opened, _join(opened))


def cluster_and_release(opened: Deployment) -> tuple[str, Release | None]:
    """What :func:`cluster_of` tells, and the release of its nodes: None where the stack that has the leader is not
    deployed. Raises :class:`UserError` as it does."""
    join, settings = _join(opened), opened.settings
    if not isinstance(settings, JoinedSettings | JoinedHostsSettings):
        return _cluster(opened, join), settings.release
    release = Release.model_validate(join["release"]) if "release" in join else None
    return _cluster(opened, join), release


def leaders_encryption(opened: Deployment) -> str | None:
    """The ``encryption`` of the stack that has the leader of these followers on hosts. Raises :class:`UserError` as
    :func:`cluster_of` does."""
    found = _join(opened).get("encryption")
    return None if found is None else str(found)


def _cluster(opened: Deployment, join: Mapping[str, Any]) -> str:
    # What is wrong with another stack's output, the program tells.
    return str(join.get("cluster", opened.cluster))


def _join(opened: Deployment) -> Mapping[str, Any]:
    """The output ``join`` of the stack that the stack file names; empty where it names none, or one not deployed."""
    settings = opened.settings
    if not isinstance(settings, JoinedSettings | JoinedHostsSettings):
        return {}
    found: Mapping[str, Any] = _outputs(opened, settings.leader_stack).get("join", {})
    return found


def _outputs(opened: Deployment, stack: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(
            opened.read("stack", "output", "--json", "--stack", stack)
        )
    except UserError as error:
        raise UserError(
            f"leaderStack: the stack {stack} cannot be read: it was never deployed, or was deleted with its data, or "
            f"its name is another (`pulumi stack ls` lists them). {error}"
        ) from None
    return found


def joined_stacks(opened: Deployment) -> set[str]:
    """Stacks whose followers on AWS have the leader of this one, by the tags of their groups."""
    pages = opened.client("autoscaling").get_paginator("describe_auto_scaling_groups")
    ours = {"Name": f"tag:{LEADER_TAG}", "Values": [opened.cluster]}
    found = [
        group for page in pages.paginate(Filters=[ours]) for group in page["AutoScalingGroups"]
    ]
    tags = [{tag["Key"]: tag["Value"] for tag in group["Tags"]} for group in found]
    return {each[CLUSTER_TAG].rpartition("/")[2] for each in tags}


def joined_stacks_on_hosts(hosts: Hosts) -> set[str]:
    """The same on hosts, as the leader's agent knows them; none where the leader does not answer."""
    if "leader" not in hosts.access:
        return set()
    try:
        guests: dict[str, list[str]] = hosts.run(["leader"], GUESTS, seconds=30)["leader"].json()
    except ValueError:
        return set()
    return {stack for stack, addresses in guests.items() if addresses}
