"""The name server of each network: private zones, file systems, and the machines' own names."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

from .inventory import Inventory

PORT = 53
SECONDS = 5
"""How long an answer may be remembered: addresses of a rehearsal change quickly."""

_OWN = re.compile(r"ip-(\d+)-(\d+)-(\d+)-(\d+)\.(ec2|[a-z0-9-]+\.compute)\.internal")
_FILE_SYSTEM = re.compile(r"(?:([a-z0-9-]+)\.)?(fs-[0-9a-f]+)\.efs\.([a-z0-9-]+)\.amazonaws\.com")


def addresses(inventory: Inventory, name: str, asker: str) -> tuple[str, ...]:
    """The IPv4 addresses of a name for a machine with the address `asker`; empty: no such name.

    A file system answers with its mount target in the asking machine's zone and with nothing where
    that zone has none, as AWS does.
    """
    name = name.rstrip(".").lower()
    if found := inventory.records.get(name):
        return found
    if own := _OWN.fullmatch(name):
        return (".".join(own.groups()[:4]),)
    asked = _FILE_SYSTEM.fullmatch(name)
    if asked is None:
        return ()
    zone, file_system, region = asked.groups()
    if zone is None:
        zones = {each.address: each.zone for each in inventory.machines.values()}
        zone = zones.get(asker)
    return tuple(
        server.address
        for server in inventory.file_servers.values()
        if (server.file_system, server.region, server.zone) == (file_system, region, zone)
    )


def serve(bound: socket.socket, inventory: Callable[[], Inventory]) -> None:
    """Answer on a socket until it is closed."""
    bound.settimeout(1)  # closing does not wake who waits
    while True:
        try:
            question, peer = bound.recvfrom(4096)
        except TimeoutError:
            continue
        except OSError:
            return
        try:
            bound.sendto(reply(question, inventory(), peer[0]), peer)
        except Exception as error:  # a question that cannot be read must not end the server
            logging.warning("name server: %s: %r", peer[0], error)


def reply(question: bytes, inventory: Inventory, asker: str) -> bytes:
    """The answer to a packet."""
    asked = DNSRecord.parse(question)
    answer = asked.reply()
    name = str(asked.q.qname)
    found = addresses(inventory, name, asker)
    if not found:
        answer.header.rcode = RCODE.NXDOMAIN
    elif asked.q.qtype in (QTYPE.A, QTYPE.ANY):
        for address in found:
            answer.add_answer(RR(name, QTYPE.A, rdata=A(address), ttl=SECONDS))
    return bytes(answer.pack())
