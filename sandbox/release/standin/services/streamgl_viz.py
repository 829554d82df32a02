"""streamgl-viz: shows a dataset from the shared folder in a session of the node's own Redis."""

import html
import json
import re
import socket
import uuid
from pathlib import Path

from .. import BANNER, database
from ..redis_client import redis
from ..web import RefusedError, Reply, Request, serve

DATASETS = Path("/opt/graphistry/data/datasets")
SESSION_SECONDS = 3600
NODE = socket.gethostname()


def main(service: str) -> None:
    """Wait for PostgreSQL, answer."""
    database.wait()
    serve(service, 8080, [("GET", "/health", _health), ("GET", "/graph/graph.html", _graph)])


def _health(_: Request) -> Reply:
    redis("PING")
    return Reply(200, {"success": True})


def _graph(request: Request) -> Reply:
    identifier = request.query.get("dataset", "")
    if not re.fullmatch("[0-9a-f]{32}", identifier):
        raise RefusedError(
            400, f"dataset {identifier!r}: an id of 32 hexadecimal digits is expected"
        )
    path = DATASETS / f"{identifier}.json"
    if not path.exists():
        raise RefusedError(404, f"dataset {identifier} is not in the shared folder")
    edges = len(json.loads(path.read_bytes()).get("edges", []))
    session = uuid.uuid4().hex
    content = json.dumps({"dataset": identifier, "node": NODE})
    redis("SET", f"streamgl:session:{session}", content, "EX", SESSION_SECONDS)
    title = html.escape(f"{edges} edges, shown by {NODE}")
    return Reply(
        200,
        f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{BANNER}</p>"
        f'<p data-session="{session}" data-dataset="{identifier}" data-edges="{edges}"></p>\n',
        {"X-Graphistry-Session": session},
    )
