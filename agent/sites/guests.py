"""Followers of other stacks whom this leader lets in: by stack, their addresses."""

from __future__ import annotations

import ipaddress
import json
import urllib.parse
from pathlib import Path

from agent.failures import Failure
from agent.machine.files import write_private
from agent.sites import delivered, store
from agent.sites.store import STORE


def admit(stack: str, content: str) -> str:
    """Let in the addresses in a JSON list, for all that the stack had before; one line about it.

    Raises Failure GuestsRefused for what is no list of IPv4 addresses, and where this host is no leader.
    """
    addresses = _parsed(content)
    if not stack:
        raise Failure("GuestsRefused", "the stack has no name")
    file = _folder() / f"{urllib.parse.quote(stack, safe='')}.json"
    if not addresses:
        if file.exists():
            file.unlink()
        return f"no guests of {stack}"
    if not delivered.is_leader():
        raise Failure("GuestsRefused", "this host is no leader")
    _refuse_twins(stack, addresses)
    store.ensure()
    write_private(file, json.dumps(addresses))
    return f"{len(addresses)} guests of {stack}"


def _refuse_twins(stack: str, addresses: list[str]) -> None:
    """Raises Failure where two nodes would have one address inside the tunnel: the last one would get it."""
    leader = delivered.specification()
    if leader is None or leader.tunnel is None:
        return
    others = [each for name, found in by_stack().items() if name != stack for each in found]
    taken = {leader.tunnel.inside(each): each for each in (leader.tunnel.leader, *others)}
    taken.update({leader.tunnel.inside(each): each for each in leader.firewall or ()})
    for address in addresses:
        inside = leader.tunnel.inside(address)
        if taken.setdefault(inside, address) != address:
            raise Failure(
                "GuestsRefused",
                f"{address} would be {inside} inside the tunnel, which is that of {taken[inside]}",
                hint="give that host a privateAddress whose last 17 bits no other node of the cluster has",
            )


def by_stack() -> dict[str, list[str]]:
    """Every stack with its addresses; a file that cannot be read lets nobody in."""
    found: dict[str, list[str]] = {}
    for file in sorted(_folder().glob("*.json")):
        if file.name.startswith("."):
            continue  # one that is just being written
        try:
            found[urllib.parse.unquote(file.stem)] = _parsed(file.read_text())
        except (OSError, Failure) as error:
            print(f"guests: {file} cannot be read: {error}", flush=True)
    return found


def addresses() -> list[str]:
    """The addresses of all guests."""
    return sorted({address for each in by_stack().values() for address in each})


def _folder() -> Path:
    return STORE / "guests"


def _parsed(content: str) -> list[str]:
    try:
        found = json.loads(content)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise ValueError("not a list of addresses")
        return sorted({str(ipaddress.IPv4Address(each)) for each in found})
    except ValueError as error:
        raise Failure("GuestsRefused", f"the list cannot be read: {error}") from error
