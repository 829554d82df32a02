"""AWS at the first address of each network: its API, the metadata service and the name server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from .. import web_server
from . import inventory, metadata, namespace, resolver
from .commands import run
from .firewall import METADATA
from .inventory import Inventory, Machine

REDIRECT = f"""
table ip metadata {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {METADATA} tcp dport 80 redirect to :{metadata.PORT}
  }}
}}
"""
"""`redirect` takes the address of the bridge that a packet came in by: each network's own gateway."""


def redirect(name: str) -> None:
    """Let every network of a namespace reach its metadata service where AWS has it."""
    run(["ip", "netns", "exec", name, "nft", "-f", "-"], stdin=REDIRECT)


def serve(
    name: str,
    address: str,
    vpc: str,
    services: tuple[Any, int],
    known: Callable[[], Inventory],
) -> Callable[[], None]:
    """Serve on an address inside a namespace; returns how to end it.

    `services` is the API's WSGI application and its port; `known` gives the latest inventory.
    """
    names = namespace.listen(name, socket.SOCK_DGRAM, address, resolver.PORT)
    threading.Thread(target=resolver.serve, args=(names, known), daemon=True).start()

    def find(asker: str) -> Machine | None:
        # read anew: a machine asks as soon as it has an address
        for machine in inventory.read().machines.values():
            if (machine.vpc, machine.address) == (vpc, asker):
                return machine
        return None

    servers = []
    for application, port in ((metadata.application(find), metadata.PORT), services):
        bound = namespace.listen(name, socket.SOCK_STREAM, address, port)
        servers.append(web_server.serve(application, address, port, bound.fileno()))
        bound.close()  # the server has a copy

    def end() -> None:
        names.close()
        for server in servers:
            server.shutdown()
            server.server_close()

    return end
