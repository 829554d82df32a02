"""Graphistry's own HTTP interface, as a user of this node sees it.

What is asked and read here is in hub's REST documents (docs/api) and in PyGraphistry, the vendor's client.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from agent.containers.engine import Container
from agent.graphistry import door
from agent.graphistry.door import Door

ADDRESS = f"http://{door.LOCAL}"
"""Where pages are asked, which `enter` finds."""
TIMEOUT_SECONDS = 30
GONE = (404, 410)
"""HTTP statuses of a data set that is not there."""
NO_SUCH_PAGE = (404, 405)
"""HTTP statuses of a release that lacks a page, or does not take such a request."""
COUNTS = ("edge_count", "num_edges")
"""How an answer may name the number of edges: hub's documents have the first, PyGraphistry's contract none."""


class WebError(Exception):
    """The node answered otherwise than it should."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; 0 where nobody has answered."""


def enter(
    folder: Path, services: Mapping[str, Any], containers: Callable[[], Sequence[Container]]
) -> Door:
    """Find where the release in *folder* answers, and ask for pages there from now on."""
    global ADDRESS
    found = door.find(folder, services, containers)
    ADDRESS = found.address
    return found


def status(path: str) -> int:
    """The HTTP status of a page; raises WebError where nobody answers."""
    try:
        with door.opener().open(ADDRESS + path, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()
            found: int = answer.status
            return found
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException) as error:
        raise WebError(f"{path}: {error}") from error


def token(user: str, password: str) -> str:
    """A signed-in user's token."""
    answer = _ask("POST", "/api-token-auth/", None, {"username": user, "password": password})
    return str(_member(answer, "token"))


def upload(bearer: str, name: str, edges: dict[str, list[Any]]) -> str:
    """Store an edge list with columns src and dst; the data set's id."""
    described = {
        "name": name,
        "metadata": {},
        "node_encodings": {"bindings": {}},
        "edge_encodings": {"bindings": {"source": "src", "destination": "dst"}},
    }
    answer = _ask("POST", "/api/v2/upload/datasets/", bearer, described)
    identifier = str(_member(answer, "data", "dataset_id"))
    _ask("POST", f"/api/v2/upload/datasets/{identifier}/edges/json", bearer, edges)
    return identifier


def edges(bearer: str, identifier: str) -> int | None:
    """How many edges a data set has; None where its description, which is read, does not count them."""
    answer = _ask("GET", f"/api/v2/upload/datasets/{identifier}", bearer)
    found = answer["data"] if isinstance(answer.get("data"), dict) else answer
    if _member(found, "dataset_id") != identifier:
        raise WebError(f"asked for data set {identifier}, another one was described")
    counts = [found[name] for name in COUNTS if isinstance(found.get(name), int)]
    return int(counts[0]) if counts else None


def is_gone(bearer: str, identifier: str) -> bool:
    """Whether this node knows no such data set."""
    try:
        edges(bearer, identifier)
    except WebError as error:
        if error.status in GONE:
            return True
        raise
    return False


def delete(bearer: str, identifier: str) -> None:
    """Delete a data set."""
    _ask("DELETE", f"/api/v2/datasets/{identifier}/", bearer)


def _member(answer: Any, *names: str) -> Any:
    """A member of an answer; raises WebError where it is missing, without what is there instead."""
    for name in names:
        if not isinstance(answer, dict) or name not in answer:
            raise WebError(f"an answer has no {'.'.join(names)}")
        answer = answer[name]
    return answer


def _ask(method: str, path: str, bearer: str | None, content: Any = None) -> dict[str, Any]:
    """The JSON answer, {} where it is empty; errors name the path and never what was sent."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    body = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(ADDRESS + path, data=body, headers=headers, method=method)
    try:
        with door.opener().open(asked, timeout=TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        said = error.read()[:200].decode(errors="replace")
        raise WebError(f"{path}: HTTP {error.code}: {said}", error.code) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WebError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise WebError(f"{path}: an object is expected, {type(found).__name__} was answered")
    return found
