"""Whether hosts reach each other, before anything is installed on them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Sequence

from agent.machine import ports

LISTEN_SECONDS = 60.0
UDP = "/udp"
"""Behind the number of a port of UDP."""


def reach(address: str, wanted: Sequence[str]) -> dict[str, str]:
    """Port to `open`, `refused` or `filtered`, all asked at once."""
    with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as workers:
        return dict(zip(wanted, workers.map(lambda port: _state(address, port), wanted)))


def listen(wanted: Sequence[str]) -> None:
    """Take connections on those ports that are free, say which, and end with standard input."""
    with contextlib.ExitStack() as stack:
        free, echoes = [], []
        for port in wanted:
            with contextlib.suppress(OSError):
                is_udp = port.endswith(UDP)
                server = socket.socket(type=socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM)
                stack.callback(server.close)
                # Over one that has just ended, not over one that listens.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0 if is_udp else 1)
                # all addresses: the ports are asked from other hosts
                server.bind(("", _number(port)))
                if is_udp:
                    echoes.append(server)
                else:
                    server.listen(16)
                free.append(port)
        print(json.dumps({"listening": free}), flush=True)
        _echo_until_end(echoes, LISTEN_SECONDS)


def _state(address: str, port: str) -> str:
    ask = ports.udp_state if port.endswith(UDP) else ports.state
    return ask(address, _number(port))


def _number(port: str) -> int:
    return int(port.partition("/")[0])


def _echo_until_end(echoes: Sequence[socket.socket], seconds: float) -> None:
    """Send back what comes by UDP, until standard input ends, whatever comes from it before."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        ready, _, _ = select.select([sys.stdin, *echoes], [], [], max(left, 0))
        if not ready:
            return
        for echo in echoes:
            if echo in ready:
                with contextlib.suppress(OSError):
                    content, whence = echo.recvfrom(1)
                    echo.sendto(content, whence)
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            return
