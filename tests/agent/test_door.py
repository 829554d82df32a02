"""A release whose Caddyfile sets up TLS, as the vendor documents it, is reached by the name that it gives."""

from __future__ import annotations

import ctypes
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.containers.engine import Container
from agent.graphistry import door, web
from agent.graphistry.door import Door
from agent.node import Node
from agent.phases import verify

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
        assert plain.asked == [f"{NAME}:{plain.server_port}/healthz"]
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


# Debian's Caddy, in a network where ports 80 and 443 are its own. It must not change whom this computer trusts.
REAL = """\
{
  skip_install_trust
}
"""
PAGES = """\
  respond /caddy/health/ `{"success": true}` 200
  reverse_proxy localhost:8080
"""
OWN = "  tls CERTIFICATE CERTIFICATE\n"
INTERNAL = "  tls internal\n"
OWN_NETWORK = ("unshare", "--net", "true")
LINK_UP = ("ip", "link", "set", "lo", "up")
CLONE_NEWNET = 0x40000000
"""Of sched.h: Python 3.11 has no name for it."""


class Nginx(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(201 if self.path == "/healthz" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def own_network() -> None:
    """Give this thread a network that has nothing but itself; whom it starts is there too."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network of its own")
    subprocess.run(LINK_UP, check=True)


@contextmanager
def real_caddy(caddyfile: Path) -> Iterator[None]:
    """Caddy on ports 80 and 443 with what it is to pass requests on to."""
    nginx = ThreadingHTTPServer(("127.0.0.1", 8080), Nginx)
    threading.Thread(target=nginx.serve_forever, args=(0.02,), daemon=True).start()
    place = str(caddyfile.parent)
    log = caddyfile.with_suffix(".log")
    with log.open("w") as output:
        running = subprocess.Popen(
            ["caddy", "run", "--config", str(caddyfile), "--adapter", "caddyfile"],
            env={"HOME": place, "XDG_DATA_HOME": place, "XDG_CONFIG_HOME": place},
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 30
        text = caddyfile.read_text()
        has_name = INTERNAL in text and "$" not in text
        while "serving initial config" not in log.read_text() or (has_name and not has_shaken()):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        running.kill()
        running.wait()
        nginx.shutdown()
        nginx.server_close()


def has_shaken() -> bool:
    """Whether Caddy has a certificate for the name by now: it makes its own beside serving."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("localhost", 443)) as plain:
            context.wrap_socket(plain, server_hostname=NAME).close()
    except OSError:
        return False
    return True


REAL_FILES = {
    "the vendor's sample": (
        f"https://{NAME} {{\n{OWN}{PAGES}}}\n",
        f"https://{NAME}",
    ),
    "a name and Caddy's own authority": (
        f"{NAME} {{\n{INTERNAL}{PAGES}}}\n",
        f"https://{NAME}",
    ),
    "any name below another": (
        f"*.example.com {{\n{INTERNAL}{PAGES}}}\n",
        "https://graphistry.example.com",
    ),
    "plain": (f":80 {{\n{PAGES}}}\n", "http://localhost"),
    "plain by name": (f"http://{NAME} {{\n{PAGES}}}\n", f"http://{NAME}"),
    "plain beside TLS": (f"{NAME}, :80 {{\n{PAGES}}}\n", "http://localhost"),
    "hardened": (
        f":80 {{\n  @strange not host {NAME} localhost\n  respond @strange 400\n{PAGES}}}\n",
        "http://localhost",
    ),
    "an own redirect": (
        f":80 {{\n  redir https://{NAME}{{uri}}\n}}\n{NAME} {{\n{INTERNAL}{PAGES}}}\n",
        f"https://{NAME}",
    ),
    "a redirect of all but the health page": (
        f":80 {{\n  handle /caddy/health/ {{\n    respond 200\n  }}\n"
        f"  handle {{\n    redir https://{NAME}{{uri}} 308\n  }}\n}}\n{NAME} {{\n{INTERNAL}{PAGES}}}\n",
        f"https://{NAME}",
    ),
    "a certificate that nobody has given yet": (
        f"{NAME} {{\n{PAGES}}}\n",
        "http://127.0.0.1:8080",
    ),
    "a variable": (
        f"{{$DOMAIN:any.example.com}} {{\n{INTERNAL}{PAGES}}}\n",
        "http://127.0.0.1:8080",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REAL_FILES)
def test_real_caddy_is_asked_where_it_answers(tmp_path: Path, certificate: Path, kind: str) -> None:
    if not shutil.which("caddy") or subprocess.run(OWN_NETWORK, capture_output=True).returncode:
        pytest.skip("needs Debian's caddy (`make programs`), and root who may make networks")
    text, address = REAL_FILES[kind]
    folder = release(tmp_path, REAL + text.replace("CERTIFICATE", str(certificate)))

    def look() -> tuple[Door, str, int]:
        with real_caddy(folder / "data" / "config" / "Caddyfile"):
            given = services(80, 443), lambda: [nginx("127.0.0.1:8080")]
            found = door.find(folder, *given)
            said = verify._http(cast(Node, SimpleNamespace(folder=folder)), *given)
            return found, said, posted()

    with ThreadPoolExecutor(1, initializer=own_network) as network:
        found, said, status = network.submit(look).result()
    assert (found.address, found.is_found, status) == (address, True, 200)
    pages = verify.PAGES[1:] if found.is_behind else verify.PAGES
    assert said.startswith(f"{', '.join(pages)} answer")


def posted() -> int:
    """What is sent must arrive too: nobody sends again to where a redirect leads."""
    address = f"{web.ADDRESS}/api-token-auth/"
    with door.opener().open(address, data=b"{}") as answer:
        return int(answer.status)
