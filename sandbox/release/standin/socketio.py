"""Socket.IO over a WebSocket, as far as a visualization's session speaks it: events of the namespace `/`."""

import json
import socket
import uuid
from collections.abc import Callable
from typing import Any

from .web import RefusedError, Request
from .websocket import WebSocket

PING_SECONDS = 25.0
Events = list[tuple[str, Any]]


def talk(
    connection: socket.socket,
    request: Request,
    protocol: int,
    events: Callable[[str, Any], Events],
    refused: str = "",
) -> None:
    """Connect a client and answer its events until it goes. Raises OSError at the end of the connection.

    *protocol* is Engine.IO's: 4 of Socket.IO 3 and newer, 3 of Socket.IO 2, which takes every version for its own and
    connects its clients without being asked. *refused* says why no session begins.
    """
    peer = WebSocket(connection, request.headers)
    opened = {"sid": uuid.uuid4().hex, "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000}
    peer.send("0" + json.dumps({**opened, "maxPayload": 1000000}))
    if protocol == 4 and not (peer.receive(PING_SECONDS) or "").startswith("40"):
        return
    if refused:
        peer.send("44" + json.dumps({"message": refused} if protocol == 4 else refused))
        return
    peer.send("40" + (json.dumps({"sid": uuid.uuid4().hex}) if protocol == 4 else ""))
    while True:
        said = peer.receive(PING_SECONDS)
        if said is None:
            if protocol == 4:  # in 3, clients do
                peer.send("2")
        elif said.startswith("2"):
            peer.send("3" + said[1:])
        elif said.startswith(("1", "41")):
            return
        elif said.startswith("42"):
            name, *content = json.loads(said[2:])
            for answer in events(name, content[0] if content else None):
                peer.send("42" + json.dumps(answer))


def require(request: Request, protocol: int) -> None:
    """Raises RefusedError for what Engine.IO refuses: another transport or version."""
    if request.query.get("transport") != "websocket" or not request.upgrades:
        raise RefusedError(400, {"code": 0, "message": "Transport unknown"})
    if protocol == 4 and request.query.get("EIO") != "4":
        raise RefusedError(400, {"code": 5, "message": "Unsupported protocol version"})
