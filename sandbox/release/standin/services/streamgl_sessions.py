"""streamgl-sessions: the visualization sessions of this node."""

from .. import database
from ..redis_client import redis
from ..web import Reply, Request, serve


def main(service: str) -> None:
    """Wait for PostgreSQL, stay connected with it as the vendor's does, answer."""
    database.wait()
    database.hold()
    serve(service, 8080, [("GET", "/health", _health), ("GET", "/sessions", _sessions)])


def _health(_: Request) -> Reply:
    redis("PING")
    return Reply(200, {"success": True})


def _sessions(_: Request) -> Reply:
    return Reply(200, {"sessions": redis("KEYS", "streamgl:session:*")})
