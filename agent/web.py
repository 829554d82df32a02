"""Graphistry's own HTTP interface, as a user of this node sees it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

ADDRESS = "http://localhost"
TIMEOUT_SECONDS = 30
FIRST_PICTURE_SECONDS = 180
"""The first visualization of each GPU worker compiles its kernels."""


class WebError(Exception):
    """The node answered otherwise than it should."""


def status(path: str) -> int:
    """The HTTP status of a page; raises WebError where nobody answers."""
    try:
        with urllib.request.urlopen(ADDRESS + path, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()
            found: int = answer.status
            return found
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        raise WebError(f"{path}: {error}") from error


def token(user: str, password: str) -> str:
    """A signed-in user's token."""
    answer = _call("/api/v2/auth/token/generate", {"username": user, "password": password}, None)
    return str(_member(answer, "token"))


def upload(bearer: str, name: str, edges: list[dict[str, Any]]) -> str:
    """Store an edge list with columns src and dst; the data set's id."""
    described = {
        "name": name,
        "type": "edges",
        "metadata": {},
        "node_encodings": {"bindings": {}},
        "edge_encodings": {"bindings": {"source": "src", "destination": "dst"}},
    }
    answer = _call("/api/v2/upload/datasets/", described, bearer)
    identifier = str(_member(answer, "data", "dataset_id"))
    _call(f"/api/v2/upload/datasets/{identifier}/edges/json", edges, bearer)
    return identifier


def edges(bearer: str, identifier: str) -> int:
    """How many edges a data set has."""
    answer = _call(f"/api/v2/upload/datasets/{identifier}", None, bearer)
    return int(_member(answer, "data", "num_edges"))


def visualize(identifier: str) -> None:
    """Open the page of a data set, as a browser does first."""
    url = f"{ADDRESS}/graph/graph.html?dataset={identifier}"
    try:
        with urllib.request.urlopen(url, timeout=FIRST_PICTURE_SECONDS) as answer:
            answer.read()
    except OSError as error:
        raise WebError(f"the page of data set {identifier}: {error}") from error


def _member(answer: Any, *names: str) -> Any:
    """A member of an answer; raises WebError where it is missing, without what is there instead."""
    for name in names:
        if not isinstance(answer, dict) or name not in answer:
            raise WebError(f"an answer has no {'.'.join(names)}")
        answer = answer[name]
    return answer


def _call(path: str, content: Any, bearer: str | None) -> dict[str, Any]:
    """The JSON answer to a GET, or to a POST of *content*; errors name the path and never the content."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    body = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(ADDRESS + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found
    except urllib.error.HTTPError as error:
        said = error.read()[:200].decode(errors="replace")
        raise WebError(f"{path}: HTTP {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise WebError(f"{path}: {error}") from error
