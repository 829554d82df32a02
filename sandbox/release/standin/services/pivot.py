"""pivot: there, and healthy once PostgreSQL is."""

from collections.abc import Mapping
from typing import Any

from .. import database
from ..web import Reply, serve


def main(service: str, config: Mapping[str, Any]) -> None:
    """Wait for PostgreSQL, answer."""
    database.wait()
    serve(service, config, 8080, [("GET", "/health", lambda _: Reply(200, {"success": True}))])
