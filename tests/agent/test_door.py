"""A release whose Caddyfile sets up TLS, as the vendor documents it, is reached by the name that it gives."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent import door, web
from agent.engine import Container

SAMPLE = """\
# The vendor's sample
{
  admin off
}
(tls_own) {
  tls /config/cert.pem /config/key.pem
}
https://graphistry.example.com, graph.example.com:443 {
  import tls_own
  respond /caddy/health/ `{"success": true}` 200
  reverse_proxy nginx:80
}
"""
NAME = "graphistry.example.com"


class Caddy(ThreadingHTTPServer):
    """Redirects what is plain, as Caddy does by itself, and answers to one name."""

    daemon_threads = True
    is_plain = False
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Caddy

    def do_GET(self) -> None:
        host = self.headers["Host"]
        self.server.asked.append(host + self.path)
        if self.server.is_plain:
            self.send_response(308)
            self.send_header("Location", f"https://{host.split(':')[0]}{self.path}")
        else:
            self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def caddy(certificate: Path | None = None) -> Iterator[Caddy]:
    found = Caddy(("127.0.0.1", 0), Handler)
    found.asked, found.is_plain = [], certificate is None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _, name, __: (
            None if name == NAME else ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        )
        found.socket = context.wrap_socket(found.socket, server_side=True)
        found.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield found
    finally:
        found.shutdown()
        found.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of nobody's authority, as many are."""
    file = tmp_path_factory.mktemp("caddy") / "own.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    place = ["-subj", f"/CN={NAME}", "-keyout", str(file), "-out", f"{file}.cert"]
    subprocess.run([*words, *place], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.cert").read_text())
    return file


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "ADDRESS", web.ADDRESS)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


def release(folder: Path, text: str) -> Path:
    (folder / "data" / "config").mkdir(parents=True)
    (folder / "data" / "config" / "Caddyfile").write_text(text)
    return folder


def services(plain: int, secure: int) -> dict[str, Any]:
    ports = [
        {"target": 80, "published": str(plain)},
        {"target": 443, "published": str(secure), "protocol": "tcp"},
    ]
    return {"redis": {}, "caddy": {"ports": ports}}


def nginx(address: str) -> Container:
    return Container("n", "nginx", "running", "healthy", 0, 1, "", 0, address)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SAMPLE, [("https", NAME), ("", "graph.example.com")]),
        (":80 {\n  reverse_proxy nginx:80\n}\n", [("http", "")]),
        ("a.example.com\n\nreverse_proxy nginx:80\n", [("", "a.example.com")]),
        ("a.example.com,\nhttp://b.example.com/x {\n}", [("", "a.example.com"), ("http", "b.example.com")]),
        ("{$DOMAIN} {\n tls internal\n}\n", []),
        ("# https://no.example.com {\n*.example.com {\n}", [("", "*.example.com")]),
        ("", []),
    ],
)  # fmt: skip
def test_sites_are_read_from_a_caddyfile(text: str, found: list[tuple[str, str]]) -> None:
    assert door.sites(text) == found


def test_a_redirected_page_is_asked_by_the_configured_name(
    tmp_path: Path, certificate: Path
) -> None:
    with caddy() as plain, caddy(certificate) as secure:
        given = services(plain.server_port, secure.server_port)
        found = web.enter(release(tmp_path, SAMPLE), given, list)
        assert found.address == f"https://{NAME}:{secure.server_port}"
        assert web.status("/healthz") == 201
        assert found.answered == 0
        assert plain.asked == [f"{NAME}:{plain.server_port}/caddy/health/"]
        assert secure.asked == [f"{NAME}:{secure.server_port}/healthz"]


def test_the_name_of_a_redirect_goes_before_the_caddyfiles(tmp_path: Path) -> None:
    class Named(Handler):
        def send_header(self, keyword: str, value: str) -> None:
            is_location = keyword == "Location"
            super().send_header(keyword, "https://other.example.com/" if is_location else value)

    with caddy() as plain:
        plain.RequestHandlerClass = Named
        found = door.find(release(tmp_path, SAMPLE), services(plain.server_port, 1), list)
    assert found.address == "https://other.example.com:1"


def test_a_plain_site_is_asked_at_its_published_port(tmp_path: Path) -> None:
    with caddy() as plain:
        plain.is_plain = False
        folder = release(tmp_path, ":80 {\n  reverse_proxy nginx:80\n}\n")
        found = web.enter(folder, services(plain.server_port, 1), list)
        assert (found.address, found.why) == (f"http://localhost:{plain.server_port}", "")
        assert found.answered == 201
        assert web.status("/healthz") == 201


@pytest.mark.parametrize("text", ["{$DOMAIN} {\n tls internal\n}\n", "other.example.com {\n}\n"])
def test_without_a_name_that_is_answered_nginx_is_asked_behind_it(
    tmp_path: Path, certificate: Path, text: str
) -> None:
    with caddy() as plain, caddy(certificate) as secure:
        given = services(plain.server_port, secure.server_port)
        found = door.find(release(tmp_path, text), given, lambda: [nginx("172.18.0.9")])
        assert (found.address, found.is_behind, found.is_found) == ("http://172.18.0.9", True, True)
        assert not door.find(tmp_path, given, list).is_found
    assert "redirects to https" in found.why


def test_a_port_80_that_nobody_serves_leaves_https(tmp_path: Path, certificate: Path) -> None:
    with caddy(certificate) as secure:
        found = door.find(release(tmp_path, SAMPLE), services(1, secure.server_port), list)
        assert found.address == f"https://{NAME}:{secure.server_port}"


def test_a_plain_port_that_does_not_answer_stays_what_is_asked(tmp_path: Path) -> None:
    found = web.enter(tmp_path, services(1, 2), list)
    assert found.address == "http://localhost:1"
    with pytest.raises(web.WebError, match="refused"):
        web.status("/healthz")
