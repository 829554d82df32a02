"""notebook: there, and whoever runs code in its container makes files in its folder."""

from ..web import Reply, serve


def main(service: str) -> None:
    """Answer."""
    serve(service, 8888, [("GET", "/notebook/api", lambda _: Reply(200, {"version": "7.0.0"}))])
