"""A visualization is proven by its session's socket, against servers of this computer."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.failures import NotProvenError
from agent.graphistry import visualization, web, websocket
from agent.graphistry.door import Door
from agent.graphistry.visualization import opened
from agent.graphistry.websocket import WebSocket, WebSocketError
from agent.phases import start
from sandbox.release.standin import socketio
from sandbox.release.standin import web as standin
from sandbox.release.standin.web import Reply, Request, Route

from .test_clients import serve

PAGE = '<script>var graphistryPath = "/graph";</script>'


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualization, "SECONDS", 5)


@contextmanager
def served(routes: list[Route]) -> Iterator[int]:
    """The pages of a service of the stand-in release, on a port."""
    handler = type("Handler", (standin._Handler,), {"routes": routes, "service": "test"})
    server = standin._Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


class Viz:
    """A service with a page and sessions; the requests for its socket."""

    def __init__(self, protocol: int = 4, page: str = PAGE, refused: str = "") -> None:
        self.protocol, self.page, self.refused = protocol, page, refused
        self.asked: list[Request] = []
        self.kind = "C"
        self.open = 0

    @property
    def routes(self) -> list[Route]:
        return [
            ("GET", "/graph/graph.html", self.graph),
            ("GET", "/graph/socket.io/", self.socket),
        ]

    def graph(self, _: Request) -> Reply:
        return Reply(200, self.page, {"Set-Cookie": "route=here; Path=/"})

    def socket(self, request: Request) -> Reply:
        self.asked.append(request)
        socketio.require(request, self.protocol)

        def session(connection: socket.socket) -> None:
            self.open += 1
            try:
                socketio.talk(connection, request, self.protocol, self.answer, self.refused)
            finally:
                self.open -= 1

        return Reply(101, session)

    def answer(self, event: str, content: Any) -> socketio.Events:
        assert (event, content["method"]) == ("falcor-operation", "get")
        others = [("another", None), (f"{event}-another", {"kind": "E"})]
        if not self.kind:
            return others
        many = [("another", "x" * size) for size in (200, 300, 70000)]
        answer = (f"{event}-{content['id']}", {"kind": self.kind, "error": "no graph"})
        return [*others, *many, answer]


@pytest.fixture
def viz(monkeypatch: pytest.MonkeyPatch) -> Iterator[Viz]:
    """A service behind a proxy, as on a node."""
    service = Viz()
    with served(service.routes) as port:

        def passed_on(request: Request) -> Reply:
            way = standin.tunnel if request.upgrades else standin.call
            return way("127.0.0.1", port, request)

        with served([("*", ".*", passed_on)]) as door:
            monkeypatch.setattr(web, "ADDRESS", f"http://127.0.0.1:{door}")
            yield service


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_session_is_opened_in_the_servers_version_and_held_open(viz: Viz, protocol: int) -> None:
    viz.protocol = protocol
    with opened("d1"):
        assert viz.open == 1
    query = viz.asked[-1].query
    assert {name: query[name] for name in ("dataset", "type", "falcorClient", "EIO")} == {
        "dataset": "d1",
        "type": "arrow",
        "falcorClient": "true",
        "EIO": str(protocol),
    }
    assert viz.asked[-1].header("cookie") == "route=here"
    end = time.monotonic() + 5
    while viz.open and time.monotonic() < end:
        time.sleep(0.01)
    assert viz.open == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refused": "no worker is free"}, "no worker is free"),
        ({"kind": "E"}, 'the session answers {"kind": "E", "error": "no graph"}'),
        ({"page": PAGE.replace("/graph", "/elsewhere")}, "/elsewhere/socket.io/: .*HTTP 404"),
    ],
)
def test_a_session_that_does_not_serve_is_told(
    viz: Viz, changes: dict[str, str], message: str
) -> None:
    vars(viz).update(changes)
    with pytest.raises(web.WebError, match=message), opened("d1"):
        pass


def test_a_session_that_says_nothing_is_told(viz: Viz, monkeypatch: pytest.MonkeyPatch) -> None:
    viz.kind = ""
    monkeypatch.setattr(visualization, "SECONDS", 0.5)
    with pytest.raises(web.WebError, match="nothing more was said in time"), opened("d1"):
        pass


def test_a_page_that_names_no_socket_proves_nothing(viz: Viz) -> None:
    viz.page = "<title>5 edges</title>"
    with pytest.raises(NotProvenError, match="does not say where"), opened("d1"):
        pass


def test_a_first_visualization_is_told_as_it_was_and_leaves_no_dataset(
    viz: Viz, make_node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node()
    monkeypatch.setitem(node.secret, "servicePassword", "password")
    deleted: list[str] = []
    monkeypatch.setattr(web, "delete", lambda _, identifier: deleted.append(identifier))
    monkeypatch.setattr(visualization, "opened", opened)
    found = []
    for page, refused in ((PAGE, ""), ("", ""), (PAGE, "no worker is free")):
        start.WARM.unlink(missing_ok=True)
        viz.page, viz.refused = page, refused
        start._warm_up(node, Door(web.ADDRESS))
        check = next(each for each in node.report.document["checks"] if each["name"] == "warmUp")
        found.append((check["ok"], check["detail"]))
    assert found[0] == (True, "a first visualization was opened")
    assert (found[1][0], found[1][1][:10]) == (False, "not proven")
    assert (found[2][0], "no worker is free" in found[2][1]) == (False, True)
    assert deleted == ["dataset"] * 3

    def refuse(*_: object) -> None:
        raise web.WebError("HTTP 405", 405)

    start.WARM.unlink(missing_ok=True)
    viz.page, viz.refused = PAGE, ""
    monkeypatch.setattr(web, "delete", refuse)
    start._warm_up(node, Door(web.ADDRESS))
    check = next(each for each in node.report.document["checks"] if each["name"] == "warmUp")
    assert check["ok"] is True


def test_a_handshake_is_answered_as_rfc_6455_says() -> None:
    assert websocket.accepted(b"dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(("size", "length"), [(5, 0), (125, 0), (126, 2), (70000, 8)])
def test_a_message_is_masked_and_says_its_length(size: int, length: int) -> None:
    content = os.urandom(size)
    sent = websocket.frame(websocket.TEXT, content)
    head = 2 + length
    assert sent[0] == 0x81
    assert sent[1] & 0x80
    told = int.from_bytes(sent[2:head], "big") if length else sent[1] & 0x7F
    mask = sent[head : head + 4]
    unmasked = bytes(each ^ mask[index % 4] for index, each in enumerate(sent[head + 4 :]))
    assert (told, unmasked) == (size, content)


def talking(*frames: bytes, heard: list[bytes] | None = None) -> WebSocket:
    """A socket whose server says these bytes and then nothing; what it has *heard* by then."""

    def answer(connection: socket.socket) -> None:
        asked = connection.recv(4096).decode()
        key = asked.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        head = f"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {websocket.accepted(key.encode())}\r\n\r\n"
        connection.sendall(head.encode() + b"".join(frames))
        while said := connection.recv(4096):
            if heard is not None:
                heard.append(said)

    return WebSocket(f"http://127.0.0.1:{serve(answer)}", "/", {}, 1)


def test_what_a_server_may_send_is_understood() -> None:
    long, heard = b"x" * 300, list[bytes]()
    with talking(
        b"\x82\x03\x00\x01\x02",  # binary: a picture
        b"\x01\x03Hel",  # RFC 6455, 5.7: a fragmented text, with a ping between
        b"\x89\x05Hello",
        b"\x80\x02lo",
        b"\x81\x7e" + struct.pack("!H", len(long)) + long,
        heard=heard,
    ) as opened_socket:
        assert opened_socket.receive() == "Hello"
        assert opened_socket.receive() == long.decode()
        end = time.monotonic() + 5
        while not heard and time.monotonic() < end:
            time.sleep(0.01)
        assert heard[0][:2] == b"\x8a\x85"  # the pong, masked


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"\x88\x06\x03\xf3never", "closed it, code 1011 neve"),
        (b"\x81\x85abcdHello", "does not speak WebSocket"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak WebSocket"),
        (b"\x83\x00", "a frame of kind 3"),
        (b"\x81\x7f" + struct.pack("!Q", 1 << 40), "a message of 1099511627776 bytes"),
        (b"\x81\x05Hel", "nothing more was said in time"),
    ],
)
def test_what_a_server_may_not_send_is_told(said: bytes, message: str) -> None:
    with talking(said) as opened_socket, pytest.raises(WebSocketError, match=message):
        opened_socket.receive()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", "HTTP 502 Bad Gateway oops"),
        (b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: other\r\n\r\n", "has not understood"),
        (b"SSH-2.0-OpenSSH\r\n", "is not HTTP"),
    ],
)
def test_a_handshake_that_is_refused_is_told(said: bytes, message: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    with pytest.raises(WebSocketError, match=message):
        WebSocket(f"http://127.0.0.1:{serve(answer)}", "/", {}, 2)
