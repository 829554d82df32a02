"""streamgl-sessions: the visualization sessions of this node."""

from collections.abc import Mapping
from typing import Any

from .. import database
from ..redis_client import redis
from ..web import Reply, Request, serve


def main(service: str, config: Mapping[str, Any]) -> None:
    """Wait for PostgreSQL, answer."""
    database.wait()
    serve(service, config, 8080, [("GET", "/health", _health), ("GET", "/sessions", _sessions)])


def _health(_: Request) -> Reply:
    redis("PING")
    return Reply(200, {"success": True})


def _sessions(_: Request) -> Reply:
    return Reply(200, {"sessions": redis("KEYS", "streamgl:session:*")})
