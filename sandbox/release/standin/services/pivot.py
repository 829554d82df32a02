"""pivot: there, and healthy once PostgreSQL is."""

from .. import database
from ..web import Reply, serve


def main(service: str) -> None:
    """Wait for PostgreSQL, answer."""
    database.wait()
    serve(service, 8080, [("GET", "/health", lambda _: Reply(200, {"success": True}))])
