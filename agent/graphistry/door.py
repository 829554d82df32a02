"""Where this node's pages are reached: at the port that is published, by the name that the release's Caddyfile gives.

Administrators set up TLS by that file, as the vendor documents it: with a site of a name and none for port 80, Caddy
redirects every plain request and knows no other name. That is this machine's to ask, whoever the resolver names.
"""

from __future__ import annotations

import functools
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from agent.containers.engine import Container
from agent.failures import Failure
from agent.machine.files import read_plain

SECONDS = 30
LOCAL = "localhost"
OWN_PAGE = "/caddy/health/"
"""Caddy answers it by itself; who redirects all other pages may exempt it, for a load balancer."""
PROBE = "/healthz"
"""Asked to see whether pages are redirected: nginx answers it, whatever runs behind."""
REDIRECTS = (301, 302, 303, 307, 308)
BEHIND = "nginx"
"""The service to which Caddy hands on all that is not its own."""
HTTP, HTTPS = 80, 443
"""The ports of the container that users reach."""
ADDRESS = re.compile(r"(?:(https?)://)?([\w.*-]*)(?::(\d+))?(?:/\S*)?")
"""One of a site in a Caddyfile (caddyserver.com/docs/caddyfile/concepts, addresses); none with a variable."""


@dataclass(frozen=True)
class Door:
    """Where to ask for pages, and why there if not at the plain port."""

    address: str
    why: str = ""
    is_behind: bool = False
    """Whether Caddy is passed by, as nobody knows a name that it would answer to."""
    is_found: bool = True
    """Whether anybody is known who answers otherwise than with a redirect."""
    answered: int = 0
    """The HTTP status of PROBE there; 0 where it is not known yet."""


def find(
    folder: Path, services: Mapping[str, Any], containers: Callable[[], Sequence[Container]]
) -> Door:
    """The door of the release in *folder*, of whose merged *services* one publishes the ports."""
    name = _name(sites(_caddyfile(folder)))
    plain = _address("http", name or LOCAL, published(services, HTTP))
    secure = _address("https", name, published(services, HTTPS)) if name else None
    try:
        with opener(follows=False).open(plain + PROBE, timeout=SECONDS) as page:
            return Door(plain, answered=page.status)
    except urllib.error.HTTPError as error:
        to = urlsplit(error.headers.get("Location", ""))
        if error.code not in REDIRECTS:
            return Door(plain, answered=error.code)
        if to.scheme != "https":
            return Door(plain)
        if to.hostname and to.hostname != LOCAL:
            secure = _address("https", to.hostname, published(services, HTTPS))
        why = f"{plain} redirects to https"
    except http.client.HTTPException:
        return Door(plain)  # it answers, and not as a page does: whoever asks for one tells it
    except OSError:
        why = f"{plain} does not answer"
        if secure is None:
            return Door(plain)
    if secure is None:
        return _behind(plain, f"{why}, and the Caddyfile names no site", containers)
    try:
        _shake_hands(secure)
    except ssl.SSLError as error:
        return _behind(plain, f"{why}, and {secure} refuses TLS ({error.reason})", containers)
    except OSError:
        pass  # nobody listens, which whoever asks for a page finds out
    return Door(secure, f"{why}: asked at {secure}")


def sites(caddyfile: str) -> list[tuple[str, str]]:
    """Scheme and name of each site's address; both may be empty."""
    heads, depth, goes_on = [], 0, False
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in caddyfile.splitlines()]
    has_blocks = any(line.endswith("{") for line in lines)
    for line in filter(None, lines):
        if depth == 0 and (goes_on or not has_blocks or line.endswith(("{", ","))):
            heads.append(line)
            goes_on = line.endswith(",")
            if not has_blocks and not goes_on:
                break  # a site without braces: directives follow
        # Placeholders open and close on one line.
        depth += line.count("{") - line.count("}")
    found = []
    for word in re.split(r"[\s,]+", " ".join(heads)):
        address = ADDRESS.fullmatch(word)
        if word and address:
            scheme = address[1] or ("http" if address[3] == str(HTTP) else "")
            found.append((scheme, address[2]))
    return found


def published(services: Mapping[str, Any], target: int) -> int:
    """The machine's port for one of Caddy's in the merged configuration; the same where none is named."""
    for service in services.values():
        for port in service.get("ports") or ():
            if port.get("target") == target and str(port.get("published") or "").isdigit():
                return int(port["published"])
    return target


def opener(*handlers: Any, follows: bool = True) -> urllib.request.OpenerDirector:
    """What opens addresses of this machine by whatever name, without a proxy, and *follows* redirects or not."""
    own = [urllib.request.ProxyHandler({}), _Plain(), _Secure(context=_context()), *handlers]
    return urllib.request.build_opener(*own, *([] if follows else [_Stay()]))


def connect(address: str, seconds: float) -> socket.socket:
    """A connection to this machine's port of an address, with TLS for its name where it is of https."""
    place = urlsplit(address)
    is_secure = place.scheme == "https"
    port = place.port or (HTTPS if is_secure else HTTP)
    found = socket.create_connection((_here(place.hostname or LOCAL), port), seconds)
    return _wrapped(found, place.hostname or LOCAL) if is_secure else found


def _here(name: str) -> str:
    """Addresses are taken for what they say; every name is this machine's."""
    return name if re.fullmatch(r"[\d.]+", name) else LOCAL


@functools.lru_cache(maxsize=None)  # Python 3.8 has no other
def _context() -> ssl.SSLContext:
    """Which certificate users trust is theirs to say: it may be of their own authority. Who answers is this machine."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def _wrapped(connection: socket.socket, name: str) -> socket.socket:
    try:
        return _context().wrap_socket(connection, server_hostname=name)
    except OSError:
        connection.close()
        raise


class _PlainConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.create_connection((_here(self.host), self.port), self.timeout)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        connection = socket.create_connection((_here(self.host), self.port), self.timeout)
        self.sock = _wrapped(connection, self.host)


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=_context())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A redirect is an answer."""


def _caddyfile(folder: Path) -> str:
    try:
        return read_plain(folder / "data" / "config" / "Caddyfile")
    except (OSError, Failure):
        return ""


def _name(found: Sequence[tuple[str, str]]) -> str:
    """A name by which the pages are reached; empty where plain requests of any name are answered, or none is known.

    Of a wildcard, any name below it.
    """
    if any(not name and scheme != "https" for scheme, name in found):
        return ""
    names = [name.replace("*", "graphistry") for _, name in found if name and name != LOCAL]
    return names[0] if names else ""


def _address(scheme: str, name: str, port: int) -> str:
    usual = port == (HTTPS if scheme == "https" else HTTP)
    return f"{scheme}://{name}" if usual else f"{scheme}://{name}:{port}"


def _shake_hands(address: str) -> None:
    connect(address, SECONDS).close()


def _behind(plain: str, why: str, containers: Callable[[], Sequence[Container]]) -> Door:
    for each in containers():
        if each.service == BEHIND and each.state == "running" and each.address:
            return Door(f"http://{each.address}", f"{why}: asked behind it, at {BEHIND}", True)
    return Door(plain, why, is_found=False)
