"""Security groups as rules of the kernel, in the network namespace of each machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .commands import run

INTERFACE = "eth0"
"""Of a machine, towards its network."""
METADATA = "169.254.169.254"
"""Where AWS has the instance metadata service."""
_PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp"}


@dataclass(frozen=True)
class Allowed:
    """One rule of a security group."""

    protocol: str
    """`tcp`, `udp`, `icmp`, or `-1` for any."""
    first: int
    """First port; -1 with ICMP or any protocol."""
    last: int
    peers: tuple[str, ...]
    """IPv4 blocks; members of a referenced group are blocks of one address. Empty: nobody."""


def ruleset(ingress: Iterable[Allowed], egress: Iterable[Allowed], gateway: str) -> str:
    """What `nft -f -` needs to let through these rules and nothing else.

    The gateway stands for AWS itself (metadata, name server, API), which no group can close.
    Replaces an earlier set in one step, so that no connection sees half of it. As in AWS, what comes in is judged
    before the machine's own Docker gives it to a container, and what a container sends when it leaves the machine.
    """
    lines = [
        "table inet sandbox",
        "delete table inet sandbox",
        "table inet sandbox {",
        *_chain("prerouting", "saddr", "iifname", ingress, gateway),
        *_chain("postrouting", "daddr", "oifname", egress, gateway),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _chain(
    hook: str, side: str, interface: str, rules: Iterable[Allowed], gateway: str
) -> list[str]:
    allowed = sorted({line for rule in rules if (line := _rule(rule, side))})
    return [
        f"  chain {hook} {{",
        f"    type filter hook {hook} priority -150; policy drop;",
        f'    {interface} != "{INTERFACE}" accept',
        "    ct state established,related accept",
        f"    ip {side} {{ {gateway}, {METADATA} }} accept",
        *(f"    {line}" for line in allowed),
        "  }",
    ]


def _rule(rule: Allowed, side: str) -> str:
    peers = [peer for peer in rule.peers if ":" not in peer]
    if not peers:
        return ""
    source = "" if "0.0.0.0/0" in peers else f"ip {side} {{ {', '.join(peers)} }} "
    protocol = _PROTOCOLS.get(rule.protocol, rule.protocol)
    if protocol == "-1":
        return f"{source}accept"
    if protocol == "icmp" or rule.first < 0:
        return f"{source}meta l4proto {protocol} accept"
    ports = str(rule.first) if rule.first == rule.last else f"{rule.first}-{rule.last}"
    return f"{source}{protocol} dport {ports} accept"


def apply(process: int, rules: str) -> None:
    """Make a rule set that of the network namespace of a process."""
    run(["nsenter", "-t", str(process), "-n", "nft", "-f", "-"], stdin=rules)


def lead_to_metadata(process: int, gateway: str) -> None:
    """The way of a network namespace to the metadata service; there is no other way out of it."""
    words = ["ip", "route", "replace", METADATA, "via", gateway]
    run(["nsenter", "-t", str(process), "-n", *words])
