"""What the health checks of the compose file find, looked up when somebody asks."""

import http.client
import re
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Any

from . import ADDRESSES
from .units import State

_ADDRESS = re.compile(r"http://localhost(?::(\d+))?(/[^\s\"']*)")
_DURATION = re.compile(r"(\d+)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def health(
    known: Mapping[str, State], project: Mapping[str, Any], traps: Mapping[str, Any]
) -> dict[str, str]:
    """healthy, unhealthy or starting for every running service; "" for the others.

    All are asked at once. A service that does not answer is starting for its start_period.
    """
    found = dict.fromkeys(known, "")

    def look(state: State) -> None:
        check = project["services"].get(state.service, {}).get("healthcheck")
        if check is None:
            return
        if state.service in traps.get("unhealthy", ()):
            found[state.service] = "unhealthy"
        elif _passes(state.service, check):
            found[state.service] = "healthy"
        else:
            age = time.monotonic() - state.started
            is_young = age < seconds(check.get("start_period", "0s"))
            found[state.service] = "starting" if is_young else "unhealthy"

    running = [state for state in known.values() if state.state == "running"]
    threads = [threading.Thread(target=look, args=[state]) for state in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def seconds(duration: str) -> float:
    """A duration of Compose: 1m30s."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(map("".join, parts)) != duration:
        raise ValueError(f"duration {duration!r}: a number with h, m, s or ms is expected")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _passes(service: str, check: Mapping[str, Any]) -> bool:
    """Whether the check's command would pass: what curl, pg_isready and redis-cli ask for is asked."""
    command, address = " ".join(check["test"]), ADDRESSES[service]
    limit = seconds(check.get("timeout", "3s"))
    try:
        if "pg_isready" in command:
            asked = ["pg_isready", "-q", "-h", address, "-t", str(max(1, int(limit)))]
            return subprocess.run(asked, check=False).returncode == 0
        if "redis-cli" in command:
            with socket.create_connection((address, 6379), limit) as connection:
                connection.sendall(b"PING\r\n")
                # redis-cli ends well even where a password is asked for.
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return all(
            _answers(address, int(number or 80), path, limit)
            for number, path in _ADDRESS.findall(command)
        )
    except (OSError, http.client.HTTPException):
        return False


def _answers(address: str, number: int, path: str, limit: float) -> bool:
    connection = http.client.HTTPConnection(address, number, timeout=limit)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 400
    finally:
        connection.close()
