"""What each part of the way to a release answers, met by the download that the agent really makes."""

from __future__ import annotations

import email.utils
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
from collections.abc import Iterator
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from agent.delivery import download_failures, remote_object
from agent.delivery.download import Download, drained
from agent.delivery.remote_object import TRIES
from agent.failures import Failure
from agent.sites.aws import AwsError

RELEASE = b"release " * 1000


class Server(ThreadingHTTPServer):
    """Gives one answer after the other, then the release."""

    answers: list[tuple[int, dict[str, str]]]
    asked: int = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.answer()

    def do_CONNECT(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.server.asked += 1
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        body = RELEASE if status == 200 else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.answers = []
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the download would have waited, each time."""
    found: list[float] = []
    monkeypatch.setattr("agent.delivery.remote_object.time.sleep", found.append)
    # urllib asks the environment once in a process.
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        for each in (name, name.upper()):
            monkeypatch.delenv(each, raising=False)
    return found


def only_https(source: str, span: str) -> NoReturn:
    raise AssertionError(f"the site was asked for {span} of {source}")


def failure(source: str) -> Failure:
    with pytest.raises(Failure) as raised:
        drained(Download(source, only_https))
    return raised.value


def url(server: Server, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_port}/release.tar"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_passes_is_asked_again(server: Server, status: int) -> None:
    server.answers = [(status, {})] * 2
    drained(Download(url(server), only_https))
    assert server.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_what_does_not_pass_is_final(server: Server, status: int) -> None:
    server.answers = [(status, {})]
    found = failure(url(server))
    assert found.code == "ReleaseUnavailable"
    assert f"HTTP {status}" in found.message
    assert server.asked == 1


def test_a_server_that_stays_busy_is_named_as_such(server: Server) -> None:
    server.answers = [(429, {})] * TRIES
    found = failure(url(server))
    assert found.code == "ReleaseUnreachable"
    assert "it answers HTTP 429 Too Many Requests, 8 times" in found.message


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("7", 7),
        ("86400", download_failures.LONGEST_RETRY_AFTER),
        ("-3", 1),
        ("soon", 1),
    ],
)
def test_a_server_says_when_to_come_back(
    server: Server, pauses: list[float], asked: str, expected: float
) -> None:
    server.answers = [(503, {"Retry-After": asked})]
    drained(Download(url(server), only_https))
    assert pauses == [expected]


def test_a_server_may_say_it_as_a_date(server: Server, pauses: list[float]) -> None:
    server.answers = [(429, {"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)})]
    drained(Download(url(server), only_https))
    assert 50 < pauses[0] <= 60


def test_a_name_that_nobody_knows() -> None:
    found = failure("https://releases.invalid/release.tar")
    assert found.code == "ReleaseUnreachable"
    assert "its name cannot be resolved" in found.message


def test_a_connection_that_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = failure(f"https://127.0.0.1:{port}/release.tar")
    assert found.code == "ReleaseUnreachable"
    assert "the connection is refused, 8 times" in found.message


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_object, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = failure(f"http://127.0.0.1:{listener.getsockname()[1]}/release.tar")
    assert found.code == "ReleaseUnreachable"
    assert "nothing answers: timed out" in found.message


@pytest.fixture
def intercepted(server: Server, tmp_path: Path) -> str:
    """The address of a server whose certificate nobody's authority signed, as of a proxy that opens TLS."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return url(server, "https")


def test_a_proxy_that_opens_tls(intercepted: str, pauses: list[float]) -> None:
    found = failure(intercepted)
    assert found.code == "ReleaseTlsRefused"
    assert "its certificate is not trusted: self-signed certificate" in found.message
    assert pauses == []


def test_what_speaks_no_tls(server: Server) -> None:
    found = failure(url(server, "https"))
    assert found.code == "ReleaseTlsRefused"
    assert "TLS fails" in found.message


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_credentials(
    server: Server, monkeypatch: pytest.MonkeyPatch, pauses: list[float], scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:hidden@127.0.0.1:{server.server_port}")
    server.answers = [(407, {"Proxy-Authenticate": "Basic"})]
    found = failure(f"{scheme}://releases.example/release.tar")
    assert found.code == "ReleaseProxyRefused"
    assert "Proxy Authentication Required" in found.message
    assert "hidden" not in found.message
    assert pauses == []


def test_s3_that_is_busy_is_not_cut() -> None:
    def busy(source: str, span: str) -> NoReturn:
        raise AwsError("503", "Slow Down")

    with pytest.raises(Failure, match="it answers 503: Slow Down, 8 times") as raised:
        drained(Download("s3://bucket/key", busy))
    assert raised.value.code == "ReleaseUnreachable"


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        ("503", True),
        ("429", True),
        ("SlowDown", True),
        ("ThrottlingException", True),
        ("RequestTimeout", True),
        ("AccessDenied", False),
        ("NoSuchKey", False),
        ("404", False),
    ],
)
def test_refusals_of_aws_that_pass(code: str, transient: bool) -> None:
    assert AwsError(code, "").is_transient is transient


def test_a_cut_in_the_middle_is_still_a_cut() -> None:
    found = download_failures.given_up("https://a/b", ConnectionResetError("reset"), 8, 5, 10)
    assert (found.code, found.message) == (
        "ReleaseDownloadCut",
        "https://a/b: cut 8 times at byte 5 of 10: reset",
    )


def test_a_wait_that_s3_asks_for_is_kept() -> None:
    headers = HTTPMessage()
    headers["Retry-After"] = "12"
    answer = urllib.error.HTTPError("https://a/b", 503, "Slow Down", headers, None)
    error = AwsError("503", "Slow Down")
    error.__cause__ = answer
    assert download_failures.wanted_pause(error) == 12
    assert download_failures.wanted_pause(OSError("no")) == 0
