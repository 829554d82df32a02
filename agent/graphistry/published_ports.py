"""Which ports of containers the machine's addresses lead to, as Docker's engine shows it and not as files promise."""

from __future__ import annotations

from typing import Sequence

from agent.containers.engine import Container
from agent.graphistry.door import HTTP, HTTPS
from agent.graphistry.wiring import PUBLISHED
from agent.node import Node


def problem(node: Node, containers: Sequence[Container]) -> str | None:
    """The data service that more can reach than the cluster needs; None where all is right."""
    specification = node.specification
    allowed = {
        ("postgres", node.address, specification.postgres.port),
        ("redis", node.address, specification.redis.port),
    }
    for each in containers:
        if not each.process:
            continue
        if each.service in PUBLISHED and each.has_machines_network:
            return f"{each.service} has the machine's network: it listens on all addresses"
        for port in each.published:
            is_data = port.target in PUBLISHED.values() or each.service in PUBLISHED
            is_right = (each.service, port.address, port.port) in allowed
            if is_data and not (is_right and specification.runs_data_services):
                return f"{each.service} is published on {port.address}:{port.port}"
    return None


def described(node: Node, containers: Sequence[Container]) -> str:
    """Who opens the door, at whatever port, and that nobody else reaches the data services."""
    doors = {
        each.service
        for each in containers
        if each.has_machines_network
        or any({port.port, port.target} & {HTTP, HTTPS} for port in each.published)
    }
    own = "PostgreSQL and Redis on the private address only"
    data = own if node.specification.runs_data_services else "no data service"
    return f"{data}; the pages by {', '.join(sorted(doors)) or 'nobody'}"
