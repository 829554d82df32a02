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

from agent import ports

LISTEN_SECONDS = 60.0


def reach(address: str, wanted: Sequence[int]) -> dict[str, str]:
    """Port to `open`, `refused` or `filtered`, all asked at once."""
    with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as workers:
        found = workers.map(lambda port: ports.state(address, port), wanted)
        return {str(port): state for port, state in zip(wanted, found)}


def listen(wanted: Sequence[int]) -> None:
    """Take connections on those ports that are free, say which, and end with standard input."""
    with contextlib.ExitStack() as stack:
        free = []
        for port in wanted:
            with contextlib.suppress(OSError):
                server = socket.socket()
                stack.callback(server.close)
                # Over one that has just ended, not over one that listens.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(("", port))  # all addresses: the ports are asked from other hosts
                server.listen(16)
                free.append(port)
        print(json.dumps({"listening": free}), flush=True)
        _wait_for_end(LISTEN_SECONDS)


def _wait_for_end(seconds: float) -> None:
    """Until standard input ends, whatever comes from it before."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        ready, _, _ = select.select([sys.stdin], [], [], max(left, 0))
        if not ready or not os.read(sys.stdin.fileno(), 4096):
            return
