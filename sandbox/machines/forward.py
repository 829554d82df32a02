"""A port of this computer that leads to a port of a machine, which has no other way in."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from . import namespace

CONNECT_SECONDS = 10
_CHUNK = 256 * 1024
# A machine that is gone says nothing more. Like Go's SSH client, whose own connection ends here, a
# forward notices that: after IDLE + TIMES * EVERY seconds.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


def start(name: str, address: str, port: int) -> tuple[int, Callable[[], None]]:
    """Lead a free port of the loopback into a namespace; the port, and how to end it.

    Who connects while the machine does not answer is cut off at once.
    """
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    live: set[socket.socket] = set()

    def lead(outer: socket.socket) -> None:
        inner = namespace.unbound(name, socket.SOCK_STREAM)
        try:
            inner.settimeout(CONNECT_SECONDS)
            inner.connect((address, port))
        except OSError:
            outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            inner.close()
            outer.close()
            return
        inner.settimeout(None)
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            inner.setsockopt(socket.IPPROTO_TCP, option, value)
        pair = {inner, outer}
        live.update(pair)
        back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
        back.start()
        _pump(outer, inner)
        back.join()
        live.difference_update(pair)
        inner.close()
        outer.close()

    def accept() -> None:
        while True:
            try:
                outer, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=lead, args=(outer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def end() -> None:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        listening.close()
        for each in list(live):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    return int(listening.getsockname()[1]), end


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and its end; an error ends both directions."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
