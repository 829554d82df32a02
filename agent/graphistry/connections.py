"""To which PostgreSQL and which Redis the services really talk: the connections of their containers, as the kernel has
them in /proc, since a default in a service's code is in no file of the release."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from agent.containers.engine import Container
from agent.graphistry.wiring import LEADERS_REDIS, OWN_REDIS, PUBLISHED
from agent.specification import Specification

PROC = Path("/proc")
ESTABLISHED, LISTEN = "01", "0A"
NEVER_MADE = ("02", "03", "07", LISTEN, "0C")
"""States of connections that lead nowhere: SYN_SENT, SYN_RECV, CLOSE, LISTEN, NEW_SYN_RECV (include/net/tcp_states.h).
One that has ended is a proof for another minute (TIME_WAIT), as of clients that connect for each question."""
LEADER, OWN = "the leader's", "this node's own"
STREAMGL = tuple(each for each in OWN_REDIS if each.startswith("streamgl"))


@dataclass(frozen=True)
class Connection:
    """A service that talks to a data service."""

    service: str
    to: str
    """PostgreSQL or Redis."""
    place: str
    """LEADER or OWN, or the address and port of a third one."""

    @property
    def is_right(self) -> bool:
        """Whether the service may talk to that one."""
        return self.place == _right(self.service, self.to)

    def __str__(self) -> str:
        return f"{self.service} talks to {self.place} {self.to}"


@dataclass(frozen=True)
class Promise:
    """Who is to talk to what: *services*, each of them or, where *is_any*, one of them."""

    services: tuple[str, ...]
    to: str
    place: str
    is_any: bool = False

    def missing(self, seen: Sequence[Connection]) -> list[str]:
        """The services that are not seen to; empty where it is kept."""
        talking = {each.service for each in seen if (each.to, each.place) == (self.to, self.place)}
        silent = [each for each in self.services if each not in talking]
        return [] if self.is_any and len(silent) < len(self.services) else silent


PROMISES = (
    Promise(LEADERS_REDIS, "Redis", LEADER),
    Promise(LEADERS_REDIS, "PostgreSQL", LEADER),
    Promise(STREAMGL, "Redis", OWN, is_any=True),
)


def seen(specification: Specification, containers: Sequence[Container]) -> list[Connection]:
    """The services' connections to data services. Raises OSError where the leader's name is not known."""
    ports = {
        PUBLISHED["postgres"]: "PostgreSQL",
        PUBLISHED["redis"]: "Redis",
        specification.postgres.port: "PostgreSQL",
        specification.redis.port: "Redis",
    }
    own = {
        address for each in containers if each.service in PUBLISHED for address in each.addresses
    }
    hosts = {specification.postgres.host, specification.redis.host}
    leaders = {address for host in hosts for address in _addresses(host)}
    found = set()
    for each in containers:
        # In the machine's own network, connections are everybody's.
        if each.service not in (*LEADERS_REDIS, *OWN_REDIS) or each.has_machines_network:
            continue
        for address, port, state in _remotes(each.process) if each.process else ():
            if port not in ports:
                continue
            to = ports[port]
            place = _place(specification, each.service, to, address in own, address in leaders)
            if place is None and each.service.startswith("dask-"):
                continue  # its users' code asks whatever it likes
            connection = Connection(each.service, to, place or f"{address}:{port}'s")
            # One that has ended may have been to a container that has gone since.
            if connection.is_right or state == ESTABLISHED:
                found.add(connection)
    return sorted(found, key=str)


def _place(
    specification: Specification, service: str, to: str, is_own: bool, is_leaders: bool
) -> str | None:
    if not specification.runs_data_services:
        return LEADER if is_leaders else OWN if is_own else None
    # The leader's own are the cluster's: there is no wrong one of two.
    return _right(service, to) if is_own or is_leaders else None


def _right(service: str, to: str) -> str:
    """Where a service's data are: PostgreSQL is the leader's for all."""
    return OWN if to == "Redis" and service not in LEADERS_REDIS else LEADER


def _addresses(host: str) -> set[str]:
    return {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


def listening() -> Iterator[tuple[str, int]]:
    """Addresses and ports where programs of this machine listen for TCP, Docker's for its containers among them."""
    for local, _, state in _sockets("self"):
        if state == LISTEN:
            yield _end(local)


def _remotes(process: int) -> Iterator[tuple[str, int, str]]:
    """The far ends of the connections in a process's network with their states; none once it has ended."""
    for _, remote, state in _sockets(str(process)):
        if state not in NEVER_MADE:
            yield (*_end(remote), state)


def _sockets(process: str) -> Iterator[tuple[str, str, str]]:
    """Near end, far end and state of each TCP socket in a process's network, as the kernel writes them."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (PROC / process / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, remote, state = line.split()[:4]
            yield local, remote, state


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return _address(address), int(port, 16)


def _address(text: str) -> str:
    """The kernel writes 32 bits at a time, each in the order of the processor's bytes."""
    words = [int(each, 16) for each in re.findall("........", text)]
    content = struct.pack(f"={len(words)}I", *words)
    if len(content) == 4:
        return socket.inet_ntop(socket.AF_INET, content)
    if content[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, content[12:])
    return socket.inet_ntop(socket.AF_INET6, content)
