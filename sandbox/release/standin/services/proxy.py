"""nginx, which knows where each page is."""

import re

from ..web import RefusedError, Reply, Request, Route, call, serve, tunnel

PAGES = (
    (
        "/api-token-.*|/api/v2/(auth|users|files|datasets)/.*|/accounts/.*",
        "nexus",
        8000,
        "",
    ),
    ("/api/v2/upload/.*", "forge-etl-python", 8080, ""),
    ("/graph/.*", "streamgl-viz", 8080, ""),
    ("/streamgl-gpu/secondary/.*", "streamgl-gpu", 8080, "/streamgl-gpu"),
    ("/pivot/.*", "pivot", 8080, "/pivot"),
)
"""Pages of nginx: path, service, port, and what is cut off the path."""


def main(service: str) -> None:
    """Answer."""
    routes: list[Route] = [("GET", "/healthz", lambda _: Reply(201, "")), ("*", ".*", _page)]
    serve(service, 80, routes)


def _page(request: Request) -> Reply:
    for pattern, service, port, cut in PAGES:
        if re.fullmatch(pattern, request.target.partition("?")[0]):
            return _passed_on(request, service, port, cut)
    raise RefusedError(404, f"{request.method} {request.target}: no such page")


def _passed_on(request: Request, service: str, port: int, cut: str) -> Reply:
    kept = {
        name: value
        for name, value in request.headers.items()
        if name.lower() in ("authorization", "content-type", "cookie", "host")
    }
    target = request.target.removeprefix(cut)
    try:
        if request.upgrades:
            return tunnel(service, port, Request("GET", target, request.headers, b""))
        return call(service, port, Request(request.method, target, kept, request.body))
    except OSError as error:
        raise RefusedError(502, f"Bad Gateway: {service} does not answer") from error
