"""Stacks of followers and the stack that has their leader: who depends on whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model.specification import RUN_AGENT
from model.tags import CLUSTER_TAG, LEADER_TAG
from operate.deployment import Deployment
from operate.hosts import Hosts
from operate.messages import UserError

GUESTS = f"sudo -n {RUN_AGENT} guests"


def leader_of_another_stack(
    opened: Deployment, outputs: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The output ``join`` of the stack that has the leader; None where this stack has it itself."""
    name = outputs.get("leaderStack")
    if name is None:
        return None
    shown: dict[str, Any] = json.loads(opened.read("stack", "output", "--json", "--stack", name))
    if "join" not in shown:
        raise UserError(f"the leader's stack {name} is not deployed any more")
    found: Mapping[str, Any] = shown["join"]
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
