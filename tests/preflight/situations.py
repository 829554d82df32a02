"""Situations for the tests of the preflight: a stack file, and an AWS of moto's or of plain answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3

from model.plan import planned_nodes
from model.settings.aws import FollowersOnAws, Settings
from model.settings.read import parse
from model.settings.sections import Release
from preflight.situation import RunningMachine, Situation

REGION = "us-east-1"
CLUSTER = "graphistry-cluster/prod"
MAKING = threading.Lock()
"""Parts of checks run side by side."""


def situation(
    raw: dict[str, Any],
    *machines: RunningMachine,
    client: Any = None,
    clients: Callable[[str], Any] | None = None,
    region: str = REGION,
    release: Release | None = None,
    is_rehearsal: bool = False,
) -> Situation:
    """What a stack file means while *machines* run.

    Instead of moto *client* is asked where it is given, or what *clients* makes for each service.
    """
    settings = parse(raw)
    assert isinstance(settings, FollowersOnAws)
    return Situation(
        settings=settings,
        region=region,
        cluster=CLUSTER,
        nodes=planned_nodes(settings),
        client=clients
        or ((lambda _: client) if client else lambda service: aws_client(service, region)),
        machines=lambda: machines,
        release=settings.release if isinstance(settings, Settings) else release,
        choice=" prod",
        is_rehearsal=is_rehearsal,
    )


def aws_client(service: str, region: str = REGION) -> Any:
    """A client of moto's, made once a process: that takes longer than most answers."""
    with MAKING:
        return _made(service, region)


@cache
def _made(service: str, region: str) -> Any:
    return boto3.client(service, region_name=region)


def machine(
    node: str, instance_type: str, zone: str = "us-east-1a", **other: Any
) -> RunningMachine:
    """A machine of the cluster that runs."""
    values: dict[str, Any] = {
        "instance_id": f"i-{node}",
        "market": "on-demand",
        "name": f"graphistry-prod-{node}",
        "cluster": CLUSTER,
        **other,
    }
    return RunningMachine(instance_type=instance_type, zone=zone, **values)
