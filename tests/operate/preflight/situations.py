"""Situations for the tests of the preflight: a stack file, and an AWS of moto's or of plain answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3

from model.plan import planned_nodes
from model.sections import Release
from model.settings import FollowersOnAws, Settings, parse
from operate.preflight.situation import RunningMachine, Situation

REGION = "us-east-1"
CLUSTER = "graphistry-cluster/prod"


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
        client=clients or ((lambda _: client) if client else _of_moto(region)),
        machines=lambda: machines,
        release=settings.release if isinstance(settings, Settings) else release,
        choice=" STACK=prod",
        is_rehearsal=is_rehearsal,
    )


def _of_moto(region: str) -> Callable[[str], Any]:
    """Makes a client of each service once, as parts of checks run side by side."""
    making = threading.Lock()

    @cache
    def made(service: str) -> Any:
        return boto3.client(service, region_name=region)

    def client(service: str) -> Any:
        with making:
            return made(service)

    return client


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
