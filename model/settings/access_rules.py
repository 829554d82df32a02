"""The rule about who may reach the nodes; see `model.settings.aws_rules`."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from model.docker_networks import TAKEN, taken_by_docker
from model.problems import Finding, Problem, shown

if TYPE_CHECKING:
    from model.settings.aws import Settings


def clients_get_answers(settings: Settings) -> Iterator[Finding]:
    """No block of `access.allowedCidrs` is within a network of Docker's, in which no client gets an answer.

    A block that is larger than such a network costs only some clients theirs: a remark of the preflight.
    """
    for index, cidr in enumerate(settings.access.allowed_cidrs):
        network = taken_by_docker(IPv4Network(cidr))
        if network is not None:
            path = f"access.allowedCidrs[{index}]"
            problem = Problem(
                path,
                shown(cidr),
                f"blocks outside {' and '.join(map(str, TAKEN))}, which Docker takes for itself on every node",
                "no client with such an address gets an answer: let them come from another network, or through a load "
                "balancer or a VPN that translates addresses",
            )
            yield Finding(problem, (path,))
