"""The Docker Engine's API over its socket: what runs, without a program that has to be started to ask for it."""

from __future__ import annotations

import calendar
import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from agent.machine.commands import TIMED_OUT, Completed

SOCKET = "/var/run/docker.sock"
SECONDS = 30.0
"""For one answer of an engine that does nothing but look something up."""
MOST_BYTES = 1024 * 1024
"""Kept of what a command writes in a container, whose root may put another program in the place of what is asked."""
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
"""Labels that Compose gives its containers."""
STEADY_SECONDS = 10.0
"""How long a container runs after Docker has restarted it before it counts as running: Docker's own bound."""
EVENTS = ("start", "die", "oom", "kill", "pause", "unpause", "health_status", "destroy")
"""What may change whether a container is well. Health checks and `docker exec` are events of other names."""
EVERYWHERE = "0.0.0.0"  # noqa: S104, nothing is bound here
"""Where a port is published that no address was named for."""
_OUTPUT, _ERRORS = 1, 2  # the numbers of both in one stream


class EngineError(OSError):
    """The engine does not answer, or refuses."""


@dataclass(frozen=True)
class Mount:
    """What a container sees of this machine at *target*."""

    kind: str
    """bind, volume or tmpfs."""
    source: str
    """The path on this machine; a volume's is in Docker's own folder."""
    target: str


@dataclass(frozen=True)
class Published:
    """A port of a container that this machine's address leads to."""

    address: str
    """0.0.0.0 or :: where all of the machine's do."""
    port: int
    target: int
    """The port in the container."""


@dataclass(frozen=True)
class Container:
    """A container of a project, as the engine has it."""

    identifier: str
    service: str
    state: str
    """created, running, restarting, paused, exited or dead."""
    health: str
    """starting, healthy or unhealthy; empty for one without a health check."""
    exit_code: int
    process: int
    """The number of its first process on this machine; 0 unless it runs."""
    started: str
    restarts: int
    """How often Docker has started it again since it was made."""
    address: str
    """Of IPv4, in one of its networks; empty for one that has the machine's, or another container's."""
    allowed: float = 0.0
    """Seconds after a start in which its health check does not call it unhealthy; 0 without a health check."""
    addresses: tuple[str, ...] = ()
    """In all of its networks, those of IPv4 first."""
    mounts: tuple[Mount, ...] = ()
    published: tuple[Published, ...] = ()
    """Empty unless it runs."""
    has_machines_network: bool = False
    """Whether every port that it listens on is the machine's."""
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What its processes began with, the image's own variables too: passwords are among them."""

    @property
    def is_steady(self) -> bool:
        """Whether it, which runs, was not just started again after it ended."""
        return not self.restarts or _age(self.started) >= STEADY_SECONDS


def containers(project: str) -> list[Container]:
    """The containers of a Compose project, those that have ended too; raises EngineError."""
    return _labelled(f"{PROJECT}={project}")


def all_projects() -> list[Container]:
    """The containers of all Compose projects; raises EngineError."""
    return _labelled(SERVICE)


def volumes(project: str) -> dict[str, str]:
    """The volumes of a Compose project, also those that no container has any more: name to path on this machine; raises
    EngineError."""
    labels = json.dumps({"label": [f"{PROJECT}={project}"]})
    with _Engine() as engine:
        found = engine.ask("GET", f"/volumes?{urlencode({'filters': labels})}") or {}
    return {each["Name"]: each["Mountpoint"] for each in found.get("Volumes") or []}


def _labelled(label: str) -> list[Container]:
    labels = json.dumps({"label": [label, f"{ONE_OFF}=False"]})
    with _Engine() as engine:
        listed = engine.ask("GET", f"/containers/json?{urlencode({'all': 1, 'filters': labels})}")
        shown = [engine.ask("GET", f"/containers/{each['Id']}/json") for each in listed]
    try:
        return [_container(each) for each in shown if each is not None]
    except (LookupError, TypeError, ValueError) as error:
        raise EngineError(f"Docker's answer is not understood: {error!r}") from error


def execute(container: str, command: Sequence[str], seconds: float) -> Completed:
    """Run a command in a container; raises EngineError. One that takes longer than *seconds* is killed.

    One that the kernel does not let be killed, as it waits for a driver or a file server, is left behind.
    """
    asked = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command)}
    with _Engine(seconds) as engine:
        made = engine.ask("POST", f"/containers/{quote(container)}/exec", asked)
        try:
            frames = engine.stream(f"/exec/{made['Id']}/start", {"Detach": False}, seconds)
        except socket.timeout:
            _kill(made["Id"])
            return Completed(TIMED_OUT, "", f"{command[0]} did not end within {seconds:g} s")
    with _Engine() as engine:
        ended = engine.ask("GET", f"/exec/{made['Id']}/json")
    if ended is None:
        raise EngineError("the container has gone meanwhile")
    texts = [
        b"".join(part for number, part in frames if number == wanted).decode(errors="replace")
        for wanted in (_OUTPUT, _ERRORS)
    ]
    return Completed(int(ended["ExitCode"] or 0), *texts)


def _pass_over(answer: http.client.HTTPResponse, size: int, end: float) -> None:
    while size and time.monotonic() < end:
        part = answer.read(min(size, 65536))
        if not part:
            return
        size -= len(part)


def _kill(execution: str) -> None:
    """End a command in a container with its children, which Docker itself never does.

    Runtimes begin a session for each, of which this is the first process; its number is that of this machine.
    """
    with contextlib.suppress(OSError, LookupError), _Engine() as engine:
        running = engine.ask("GET", f"/exec/{execution}/json") or {"Running": False}
        if running["Running"] and running["Pid"] > 1:
            os.killpg(running["Pid"], signal.SIGKILL)


def events() -> Iterator[None]:
    """One None for each event of a project's container that may matter, until the engine ends; raises EngineError."""
    filters = json.dumps({"type": ["container"], "event": list(EVENTS), "label": [PROJECT]})
    with _Engine(None) as engine:
        yield from engine.lines(f"/events?{urlencode({'filters': filters})}")


class _Engine:
    """A connection to the engine."""

    def __init__(self, seconds: float | None = SECONDS) -> None:
        self._connection = _Connection(seconds)

    def __enter__(self) -> _Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The document that answers; None for a container that has gone meanwhile."""
        answer = self._send(method, path, body)
        try:
            content = answer.read()
            if answer.status == 404 and method == "GET":
                return None
            document = json.loads(content) if content else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"Docker's answer cannot be read: {error}") from error
        if answer.status >= 400:
            raise EngineError(str((document or {}).get("message", answer.reason)))
        return document

    def stream(self, path: str, body: object, seconds: float) -> list[tuple[int, bytes]]:
        """What a command wrote first, in frames: the number of the stream and the bytes; raises socket.timeout."""
        end = time.monotonic() + seconds
        answer = self._send("POST", path, body)
        found: list[tuple[int, bytes]] = []
        room = MOST_BYTES
        try:
            if answer.status >= 400:
                raise EngineError(answer.read().decode(errors="replace").strip())
            while time.monotonic() < end:
                head = answer.read(8)
                if len(head) < 8:
                    return found
                number, size = struct.unpack("!BxxxI", head)
                part = answer.read(min(size, room))
                found.append((number, part))
                room -= len(part)
                _pass_over(answer, size - len(part), end)
        except (socket.timeout, EngineError):
            raise
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"Docker's answer cannot be read: {error!r}") from error
        raise socket.timeout

    def lines(self, path: str) -> Iterator[None]:
        """One None for each line of an answer without end."""
        answer = self._send("GET", path, None)
        try:
            while answer.status == 200 and answer.readline():
                yield None
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"Docker's events cannot be read: {error!r}") from error

    def _send(self, method: str, path: str, body: object) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body)
        headers: dict[str, str] = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, content, headers)
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"Docker does not answer at {SOCKET}: {error}") from error


class _Connection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("docker", timeout=seconds)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def _container(document: dict[str, Any]) -> Container:
    state = document["State"]
    networks = list((document["NetworkSettings"]["Networks"] or {}).values())
    addresses, addresses6 = (
        tuple(each[kind] for each in networks if each.get(kind))
        for kind in ("IPAddress", "GlobalIPv6Address")
    )
    return Container(
        identifier=document["Id"],
        service=document["Config"]["Labels"][SERVICE],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=int(state["ExitCode"]),
        process=int(state["Pid"]),
        started=state["StartedAt"],
        restarts=int(document.get("RestartCount") or 0),
        address=next(iter(addresses), ""),
        allowed=_allowed(document["Config"].get("Healthcheck") or {}),
        addresses=addresses + addresses6,
        mounts=tuple(
            Mount(each["Type"], each.get("Source") or "", each["Destination"])
            for each in document.get("Mounts") or []
        ),
        published=_published(document["NetworkSettings"].get("Ports") or {}),
        has_machines_network=(document.get("HostConfig") or {}).get("NetworkMode") == "host",
        image=document["Config"].get("Image") or "",
        labels=document["Config"]["Labels"],
        environment={
            name: value
            for name, _, value in (
                each.partition("=") for each in document["Config"].get("Env") or []
            )
        },
    )


def _published(ports: dict[str, Any]) -> tuple[Published, ...]:
    """From the engine's form: "5432/tcp" to a list of addresses, or to null where a port is open to containers only."""
    return tuple(
        Published(each.get("HostIp") or EVERYWHERE, int(each["HostPort"]), int(port.split("/")[0]))
        for port, bound in sorted(ports.items())
        for each in bound or []
    )


def _allowed(check: dict[str, Any]) -> float:
    """The seconds of a health check in a container's configuration: nanoseconds, and 0 for Docker's own defaults."""
    if (check.get("Test") or ["NONE"]) == ["NONE"]:
        return 0.0
    interval, start = check.get("Interval") or 30e9, check.get("StartPeriod") or 0
    return float(start + interval * (check.get("Retries") or 3)) / 1e9


def _age(started: str) -> float:
    """Seconds since a time of Docker's, which has nine digits behind the second, and is UTC."""
    return time.time() - calendar.timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S"))
