"""HTTP for the services: a small server and a small client."""

import contextlib
import http.client
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import traps

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a request that are taken."""
_FOREVER = 1e6  # seconds between two looks at nothing


class RefusedError(Exception):
    """A request that is answered with an error status, and with what was wrong or a document of it."""

    def __init__(self, status: int, wrong: str | dict[str, Any]) -> None:
        super().__init__(str(wrong))
        self.status = status
        said = isinstance(wrong, str)
        self.document = {"success": False, "message": wrong} if said else wrong


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    target: str
    """Path and query as they came."""
    headers: Mapping[str, str]
    body: bytes
    arguments: tuple[str, ...] = ()
    """The groups of the route's pattern."""

    @property
    def query(self) -> dict[str, str]:
        """The first value of each variable."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def upgrades(self) -> bool:
        """Whether a WebSocket is asked for."""
        return self.header("upgrade").lower() == "websocket"

    def header(self, name: str) -> str:
        """The value of a header; empty where there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")

    def document(self) -> Any:
        """The body's JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"the body is not JSON: {error}") from error


@dataclass(frozen=True)
class Reply:
    """An answer: a dictionary or list is sent as JSON, text as HTML; a function takes over the connection."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict)


Route = tuple[str, str, Callable[[Request], Reply]]
"""Method, a pattern for the whole path, and what answers."""


def serve(service: str, port: int, routes: list[Route]) -> None:
    """Answer requests until the end."""
    handler = type("Handler", (_Handler,), {"routes": routes, "service": service})
    server = _Server(("", port), handler)
    print(f"listening on port {port}", flush=True)
    server.serve_forever(_FOREVER)


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own would ask for this host's name


class _Handler(BaseHTTPRequestHandler):
    routes: list[Route] = []  # noqa: RUF012 - set in a subclass for each service
    service = ""
    timeout = 60

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if self.raw_requestline and self.parse_request():
            self._answer()
        self.close_connection = True

    def _answer(self) -> None:
        try:
            reply = self._reply()
        except RefusedError as refused:
            reply = Reply(refused.status, refused.document)
        except Exception as error:
            print(f"error: {self.command} {self.path}: {type(error).__name__}: {error}", flush=True)
            reply = Reply(500, {"success": False, "message": f"{type(error).__name__}: {error}"})
        if callable(reply.content):
            with contextlib.suppress(OSError):
                reply.content(self.connection)
            return
        content, kind = reply.content, "text/html; charset=utf-8"
        if not isinstance(content, (str, bytes)):
            content, kind = json.dumps(content), "application/json"
        body = content.encode() if isinstance(content, str) else content
        self.send_response(reply.status)
        for name, value in {"Content-Type": kind, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reply(self) -> Reply:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            raise RefusedError(413, f"{length} bytes; at most {LARGEST_BODY} are taken")
        body = self.rfile.read(length)
        path = urlsplit(self.path).path
        if "health" in path and self.service in traps().get("unhealthy", ()):
            raise RefusedError(503, "unhealthy (trap `unhealthy`)")
        for method, pattern, answer in self.routes:
            match = re.fullmatch(pattern, path)
            if match and method in (self.command, "*"):
                return answer(
                    Request(self.command, self.path, dict(self.headers), body, match.groups())
                )
        raise RefusedError(404, f"{self.command} {path}: no such page of {self.service}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged: health checks would drown everything else."""


def call(
    host: str,
    port: int,
    request: Request,
    seconds: float = 30,
) -> Reply:
    """The answer of another service. Raises OSError where there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request(request.method, request.target, request.body, dict(request.headers))
        answer = connection.getresponse()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "connection", "server", "date")
        }
        return Reply(answer.status, answer.read(), headers)
    except http.client.HTTPException as error:
        raise OSError(f"{host}:{port}: {error}") from error
    finally:
        connection.close()


def tunnel(host: str, port: int, request: Request) -> Reply:
    """Pass a request for a WebSocket on, and then whatever either side says. Raises OSError where nobody is there."""
    service = socket.create_connection((host, port), 30)
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    service.sendall("\r\n".join([*lines, "", ""]).encode())

    def both(client: socket.socket) -> None:
        client.settimeout(None)
        service.settimeout(None)
        back = threading.Thread(target=_pump, args=(service, client), daemon=True)
        back.start()
        _pump(client, service)
        back.join()
        service.close()

    return Reply(101, both)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def get(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> Reply:
    """The answer to a GET."""
    return call(host, port, Request("GET", path, headers or {}, b""))
