"""A download in parts: many at once, in order, bounded, all of one content; from servers of every kind."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

import pytest

from agent.delivery.download import AT_ONCE, Download, drained
from agent.delivery.remote_object import Open
from agent.failures import Failure

PART = 1000
PARTS = 20
CHUNK = 300
CONTENT = b"".join(b"%09d " % number for number in range(PART * PARTS // 10))[:-7]


class Server(ThreadingHTTPServer):
    """An object that is served in ranges, as S3 does it."""

    daemon_threads = True
    request_queue_size = 64
    content = CONTENT
    tag: str | None = '"one"'
    knows_ranges = True
    cuts: dict[int, int]
    """How many bytes are sent of the next answer that begins at a byte."""
    statuses: dict[int, list[int]]
    """What is answered first where an answer would begin at a byte."""
    most = 1000
    """Connections that are answered at once; others are told to come later."""
    held: threading.Event
    """While it is not set, only the first part is sent."""

    def prepare(self) -> None:
        self.cuts, self.statuses, self.held = {}, {}, threading.Event()
        self.held.set()
        self.asked: list[tuple[int, int]] = []
        self.lock, self.now, self.peak = threading.Lock(), 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/release.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.now += 1
            server.peak = max(server.peak, server.now)
            is_too_much = server.now > server.most
        try:
            self.send_error(503) if is_too_much else self.answer()
        finally:
            with server.lock:
                server.now -= 1

    def answer(self) -> None:
        server, content = self.server, self.server.content
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"])
        assert found
        begin, end = int(found[1]), min(int(found[2] or len(content)) + 1, len(content))
        server.asked.append((begin, end))
        if server.statuses.get(begin):
            self.send_error(server.statuses[begin].pop(0))
            return
        if server.knows_ranges:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        else:
            begin, end = 0, len(content)
            self.send_response(200)
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if begin:
            server.held.wait(10)
        self.wfile.write(content[begin:end][: server.cuts.pop(begin, None)])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("agent.delivery.download.PART_BYTES", PART)
    monkeypatch.setattr("agent.delivery.remote_object.CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("agent.delivery.remote_object.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("agent.delivery.remote_object.LONGEST_PAUSE", 0.05)
    found = Server(("127.0.0.1", 0), Handler)
    found.prepare()
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    found.held.set()
    found.shutdown()
    found.server_close()


def no_site(source: str, span: str) -> NoReturn:
    raise AssertionError(f"the site was asked for {span} of {source}")


def everything(download: Download) -> bytes:
    found = []
    while content := download.read(256):
        assert len(content) <= 256
        found.append(content)
    return b"".join(found)


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_parts_come_at_once_and_are_read_in_order(server: Server) -> None:
    download = Download(server.url, no_site)
    assert everything(download) == CONTENT
    assert download.hexdigest() == hashlib.sha256(CONTENT).hexdigest()
    assert sorted(server.asked) == [
        (begin, min(begin + PART, len(CONTENT))) for begin in range(0, PART * PARTS, PART)
    ]


def test_no_more_parts_are_asked_for_than_have_room(server: Server) -> None:
    download = Download(server.url, no_site)
    server.held.clear()
    begun = download.read(1000) + download.read(1)
    until(lambda: server.now == AT_ONCE - 1)  # beside the first one, which is read
    server.held.set()
    until(lambda: server.now == 0)
    time.sleep(0.05)
    assert len(server.asked) == AT_ONCE
    assert begun + everything(download) == CONTENT
    assert server.peak <= AT_ONCE


def test_a_part_that_is_cut_goes_on_where_it_was_cut(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cuts = {0: 10, 5 * PART: 333}
    assert everything(Download(server.url, no_site)) == CONTENT
    assert {(10, PART), (5 * PART + 333, 6 * PART)} < set(server.asked)
    assert (
        f"the connection ended at byte {5 * PART + 333} of {len(CONTENT)}"
        in capsys.readouterr().out
    )


def test_a_server_that_knows_no_ranges_is_asked_once(server: Server) -> None:
    server.knows_ranges = False
    assert everything(Download(server.url, no_site)) == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_knows_no_ranges_is_resumed(server: Server) -> None:
    server.knows_ranges, server.cuts = False, {0: 5555}
    assert everything(Download(server.url, no_site)) == CONTENT
    assert server.asked[1:] == [(5555, len(CONTENT))]


def test_a_server_that_allows_two_connections_serves_all_parts(server: Server) -> None:
    server.most = 2
    assert everything(Download(server.url, no_site)) == CONTENT


def of_site(server: Server) -> Open:
    """A site whose store is the server."""

    def ask(_: str, span: str) -> HTTPResponse:
        asked = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        asked.request("GET", "/", headers={"Range": span, "Connection": "close"})
        return asked.getresponse()

    return ask


def test_mirrors_that_name_one_content_otherwise_are_no_other_content(server: Server) -> None:
    download = Download(server.url, no_site)
    assert download.read(PART) == CONTENT[:CHUNK]
    server.tag = '"of another mirror"'
    assert CONTENT[:CHUNK] + everything(download) == CONTENT


@pytest.mark.parametrize("tag", ['"one"', None])
def test_an_object_that_fits_into_a_part_is_one_request(server: Server, tag: str | None) -> None:
    server.content, server.tag = CONTENT[:PART], tag
    assert everything(Download(server.url, no_site)) == CONTENT[:PART]
    assert server.asked == [(0, PART)]


@pytest.mark.parametrize(
    ("tag", "content"),
    [('"two"', CONTENT), (None, CONTENT), ('"one"', CONTENT[:-1])],
    ids=["another tag", "no tag any more", "another length"],
)
def test_no_two_parts_are_of_two_contents(server: Server, tag: str | None, content: bytes) -> None:
    download = Download("s3://releases/one", of_site(server))
    assert download.read(PART) == CONTENT[:CHUNK]
    server.tag, server.content = tag, content
    with pytest.raises(Failure, match="was changed while it was fetched") as raised:
        everything(download)
    assert raised.value.code == "ReleaseChecksumMismatch"
    with pytest.raises(Failure, match="was changed while it was fetched"):
        drained(download)  # never taken for the end


@pytest.mark.parametrize(
    ("statuses", "code", "message"),
    [
        ([404], "ReleaseUnavailable", "HTTP 404"),
        ([503] * 8, "ReleaseUnreachable", f"8 times (at byte {3 * PART} of {len(CONTENT)})"),
    ],
)
def test_a_part_fails_as_the_whole_does(
    server: Server, statuses: list[int], code: str, message: str
) -> None:
    server.statuses = {3 * PART: statuses}
    download = Download(server.url, no_site)
    with pytest.raises(Failure) as raised:
        everything(download)
    assert (raised.value.code, message in raised.value.message) == (code, True)


def test_a_part_that_never_goes_on_is_cut(server: Server) -> None:
    class Cut(dict[int, int]):
        def pop(self, begin: int, *_: object) -> int | None:  # type: ignore[override]
            return 0 if begin == 3 * PART else None

    server.cuts = Cut()
    with pytest.raises(Failure, match=f"cut 8 times at byte {3 * PART} of") as raised:
        everything(Download(server.url, no_site))
    assert raised.value.code == "ReleaseDownloadCut"


def test_parts_that_nobody_reads_any_more_end(server: Server) -> None:
    before = threading.active_count()
    server.held.clear()
    download = Download(server.url, no_site)
    download.read(PART)
    download.read(PART)
    until(lambda: server.now == AT_ONCE - 1)
    server.statuses = {begin: [503] * 100 for begin in range(len(CONTENT))}
    server.cuts = dict.fromkeys(range(0, len(CONTENT), PART), 1)
    del download
    server.held.set()
    until(lambda: threading.active_count() <= before)
    assert len(server.asked) == AT_ONCE
