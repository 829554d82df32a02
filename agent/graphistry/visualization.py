"""A visualization as a user's browser opens it: the page, then the socket on which its session lives.

The page is only a frame; what shows a graph is a session that begins with the socket. Its protocol is Graphistry's
"WebSocket/Falcor" (admin documents, architecture): Socket.IO, and on it the messages of Graphistry's public package
@graphistry/falcor-socket-datasource. Where its socket is, the page says itself, in `graphistryPath`.
"""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, Iterator

from agent.failures import NotProvenError
from agent.graphistry import door, web
from agent.graphistry.web import WebError
from agent.graphistry.websocket import WebSocket, WebSocketError

SECONDS = 180
"""For a first picture: the first visualization of each GPU worker compiles its kernels."""
PATH = re.compile(r"""\bgraphistryPath\s*=\s*["']([\w./~-]*)["']""")
"""How the page names what its socket's path begins with."""
VERSIONS = ("3", "4")
"""Of Engine.IO, the older first: a server of the newer one refuses it at once, an older one takes any for its own."""
OPERATION = "falcor-operation"
FIRST = [["workbooks", "open", "id"]]
"""What the page asks its session first."""


@contextlib.contextmanager
def opened(identifier: str) -> Iterator[None]:
    """Open a dataset's visualization, and hold it open; its session has answered once.

    Raises WebError where the page, the socket or the session fails, NotProvenError where the page names no socket.
    """
    query = {"dataset": identifier, "type": "arrow", "viztoken": str(uuid.uuid4())}
    page, cookies = _page(f"/graph/graph.html?{urllib.parse.urlencode(query)}")
    named = PATH.search(page)
    if named is None:
        raise NotProvenError("the page opens, but does not say where its session's socket is")
    path = f"{named.group(1).rstrip('/')}/socket.io/"
    try:
        with _connected(path, {**query, "falcorClient": "true"}, cookies) as socket:
            _ask(socket)
            yield
    except WebSocketError as error:
        raise WebError(f"{path}: {error}") from error


def _page(path: str) -> tuple[str, http.cookiejar.CookieJar]:
    """The page's text, and the cookies that it sets, which a browser sends with the socket's handshake."""
    cookies = http.cookiejar.CookieJar()
    browser = door.opener(urllib.request.HTTPCookieProcessor(cookies))
    try:
        with browser.open(web.ADDRESS + path, timeout=SECONDS) as answer:
            return answer.read().decode(errors="replace"), cookies
    except urllib.error.HTTPError as error:
        said = error.read()[:200].decode(errors="replace")
        raise WebError(f"{path}: HTTP {error.code}: {said}", error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise WebError(f"{path}: {error}") from error


def _connected(path: str, query: dict[str, str], cookies: http.cookiejar.CookieJar) -> WebSocket:
    """A socket on which Socket.IO has connected us, in the version that the server speaks."""
    errors = []
    for version in VERSIONS:
        named = urllib.parse.urlencode({**query, "EIO": version, "transport": "websocket"})
        try:
            return _handshake(f"{path}?{named}", cookies, version)
        except WebSocketError as error:
            errors.append(f"Engine.IO {version}: {error}")
    raise WebSocketError("; ".join(errors))


def _handshake(path: str, cookies: http.cookiejar.CookieJar, version: str) -> WebSocket:
    asked = urllib.request.Request(web.ADDRESS + path)
    cookies.add_cookie_header(asked)
    headers = {"Origin": web.ADDRESS}
    if asked.has_header("Cookie"):
        headers["Cookie"] = str(asked.get_header("Cookie"))
    socket = WebSocket(web.ADDRESS, path, headers, SECONDS)
    try:
        first = socket.receive()
        if not first.startswith("0{"):
            raise WebSocketError(f"{first[:80]!r} instead of an opened connection")
        if version != "3":  # there, the server says so by itself
            socket.send("40")
        _packet(socket, "40")
    except WebSocketError:
        socket.close()
        raise
    return socket


def _ask(socket: WebSocket) -> None:
    """Have the session answer the page's first question."""
    identifier = str(uuid.uuid4())
    question = {"id": identifier, "method": "get", "pathSets": FIRST}
    socket.send("42" + json.dumps([OPERATION, question]))
    while True:
        event = _event(_packet(socket, "42"))
        if event[0] == f"{OPERATION}-{identifier}":
            break
    answer = event[1] if len(event) > 1 else None
    if not isinstance(answer, dict) or answer.get("kind") not in ("N", "C"):
        raise WebSocketError(f"the session answers {json.dumps(answer)[:200]}")


def _event(said: str) -> list[Any]:
    """An event's name and what comes with it; digits before it ask for a receipt, which nobody waits for."""
    try:
        found = json.loads(said.lstrip("0123456789"))
    except ValueError as error:
        raise WebSocketError(f"{said[:80]!r} is no event of Socket.IO") from error
    if not isinstance(found, list) or not found:
        raise WebSocketError(f"{said[:80]!r} is no event of Socket.IO")
    return found


def _packet(socket: WebSocket, kind: str) -> str:
    """What the next packet of Socket.IO of that kind says; pings are answered, the rest is for a picture."""
    while True:
        said = socket.receive()
        if said.startswith(kind):
            return said[len(kind) :]
        if said.startswith("2"):
            socket.send("3" + said[1:])
        elif said.startswith(("1", "41", "44")):
            raise WebSocketError(f"the session is refused: {said[:200]}")
