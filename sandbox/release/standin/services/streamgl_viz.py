"""streamgl-viz: a dataset's page, and its session, which begins with the page's socket and ends with it."""

import html
import json
import re
import socket
import uuid
from pathlib import Path
from typing import Any

from .. import BANNER, database, socketio, traps
from ..redis_client import redis
from ..web import RefusedError, Reply, Request, serve

DATASETS = Path("/opt/graphistry/data/datasets")
PREFIX = "/graph"
"""What the path of the page's socket begins with."""
SESSION_SECONDS = 3600
NODE = socket.gethostname()


def main(service: str) -> None:
    """Wait for PostgreSQL, answer."""
    database.wait()
    pages = [
        ("GET", "/health", _health),
        ("GET", f"{PREFIX}/graph.html", _graph),
        ("GET", f"{PREFIX}/socket.io/", _socket),
    ]
    serve(service, 8080, pages)


def _health(_: Request) -> Reply:
    redis("PING")
    return Reply(200, {"success": True})


def _graph(request: Request) -> Reply:
    identifier = request.query.get("dataset", "")
    title = html.escape(f"{_edges(identifier)} edges, shown by {NODE}")
    script = f'<script>var graphistryPath = "{PREFIX}";</script>'
    if traps().get("pageNamesNoSocket"):
        script = ""
    page = f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{BANNER}</p>{script}\n"
    return Reply(200, page)


def _socket(request: Request) -> Reply:
    """A session for as long as the socket is open; of Socket.IO 2 with the trap `socketProtocol`: 3."""
    faults = traps()
    protocol = int(faults.get("socketProtocol", 4))
    socketio.require(request, protocol)
    identifier = request.query.get("dataset", "")
    _edges(identifier)
    refused = "no worker is free (trap `sessionsRefused`)" if faults.get("sessionsRefused") else ""

    def session(connection: socket.socket) -> None:
        name = uuid.uuid4().hex
        if not refused:
            content = json.dumps({"dataset": identifier, "node": NODE})
            redis("SET", f"streamgl:session:{name}", content, "EX", SESSION_SECONDS)
        try:
            events = _Session(name, identifier)
            socketio.talk(connection, request, protocol, events, refused)
        finally:
            redis("DEL", f"streamgl:session:{name}")

    return Reply(101, session)


class _Session:
    """What a session says, in the messages of @graphistry/falcor-socket-datasource."""

    def __init__(self, name: str, dataset: str) -> None:
        self.values = {"id": name, "dataset": dataset, "edges": _edges(dataset)}

    def __call__(self, event: str, content: Any) -> socketio.Events:
        if event != "falcor-operation" or content.get("method") != "get":
            return []
        answer = f"{event}-{content['id']}"
        paths = content["pathSets"]
        known = [path for path in paths if path[:2] == ["workbooks", "open"]]
        if len(known) < len(paths):
            return [(answer, {"kind": "E", "error": {"message": f"no such path in {paths}"}})]
        graph = {"workbooks": {"open": self.values}}
        return [(answer, {"kind": "C", "value": {"paths": paths, "jsonGraph": graph}})]


def _edges(identifier: str) -> int:
    if not re.fullmatch("[0-9a-f]{32}", identifier):
        raise RefusedError(
            400, f"dataset {identifier!r}: an id of 32 hexadecimal digits is expected"
        )
    path = DATASETS / f"{identifier}.json"
    if not path.exists():
        raise RefusedError(404, f"dataset {identifier} is not in the shared folder")
    return int(json.loads(path.read_bytes()).get("edges", 0))
