"""The ports of the vendor's telemetry, which on hosts nobody reaches from elsewhere whom the stack file does not name.

On AWS the cluster's security groups admit nobody to them: there is no rule and no warning, and the check tells of them.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Mapping, Sequence

from agent.containers.engine import Container
from agent.graphistry import connections
from agent.specification import HostPlace, Specification

PORTS = {3000: "Grafana", 8889: "the collector", 9091: "Prometheus", 16686: "Jaeger"}
"""The machine's, which ask nobody for a password but Grafana, whose first is known."""
KEY = "telemetry.allowedCidrs"
"""Of the stack file."""
INTERFACES = Path("/sys/class/net")
CHAIN = """
	chain telemetry {{
		type filter hook prerouting priority -150; policy accept;
		iif lo accept
		ct direction reply accept{allowed}{bridges}
		fib daddr type local tcp dport {{ {ports} }} drop
	}}
"""
"""Before Docker rewrites their destination, as for data services. An answer to this machine may come to any port."""
ALLOWED = """
		ip saddr {{ {blocks} }} accept"""
DOCKERS = ("docker0", "docker_gwbridge", "br-*")
"""Interfaces behind which the machine's own containers are, those of Compose too: Docker names a network's bridge after
the first twelve digits of the network's number. Others that begin so are listed one by one, as nft knows no length."""
OF_A_NETWORK = re.compile(r"br-[0-9a-f]{12}")
LOOPBACK = ("127.", "::1")


def rules(place: HostPlace) -> str:
    """The chain of nftables."""
    blocks = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, place.telemetry))
    listed = ", ".join(map(str, blocks))  # none is in another, which not every nft may merge
    bridges = "".join(f'\n\t\tiifname "{name}" {_others(name)}accept' for name in DOCKERS)
    return CHAIN.format(
        allowed=ALLOWED.format(blocks=listed) if listed else "",
        bridges=bridges,
        ports=", ".join(map(str, sorted(PORTS))),
    )


def found(containers: Sequence[Container]) -> dict[int, str]:
    """Who has which of the ports open to more than this machine: services of the release, or another program."""
    published = {
        port.port: f"{each.service} ({PORTS[port.port]})"
        for each in containers
        for port in each.published
        if port.port in PORTS and not port.address.startswith(LOOPBACK)
    }
    others = {
        port: "another program"
        for address, port in connections.listening()
        if port in PORTS and not address.startswith(LOOPBACK)
    }
    return dict(sorted({**others, **published}.items()))


def described(specification: Specification, open_ports: Mapping[int, str]) -> list[str]:
    """Who reaches each of the ports that somebody has open, in words."""
    return [f"port {port} of {who} is {reached(specification)}" for port, who in open_ports.items()]


def reached(specification: Specification) -> str:
    """Who reaches the ports from elsewhere."""
    place = specification.place
    if not isinstance(place, HostPlace):
        return "closed by the cluster's security groups"
    if not place.telemetry:
        return f"closed to other machines, as {KEY} names none"
    return f"open to {', '.join(place.telemetry)} by {KEY}"


def _others(name: str) -> str:
    """Bridges of this machine that begin as those of Docker's networks do and are the way to other machines."""
    if not name.endswith("*") or not INTERFACES.is_dir():
        return ""
    named = sorted(each.name for each in INTERFACES.glob(name))
    listed = ", ".join(f'"{each}"' for each in named if not OF_A_NETWORK.fullmatch(each))
    return f"iifname != {{ {listed} }} " if listed else ""
