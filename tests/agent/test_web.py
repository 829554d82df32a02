"""The product's pages as its documents have them, and as PyGraphistry's contract has them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.containers.compose import Compose
from agent.exercise import Exercises, exercise
from agent.failures import NotProvenError
from agent.graphistry import web
from agent.graphistry.door import Door
from sandbox.release.standin.web import RefusedError, Reply, Request

from .test_clients import serve
from .test_visualization import served

ME = {"dataset_id": "d1", "name": "mine"}


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What is answered to a path; the requests are under `asked`."""
    answers: dict[str, Any] = {"asked": []}

    def answer(request: Request) -> Reply:
        answers["asked"].append(request)
        found = answers[request.target]
        if isinstance(found, int):
            raise RefusedError(found, "no")
        return Reply(200, found)

    with served([("*", ".*", answer)]) as port:
        monkeypatch.setattr(web, "ADDRESS", f"http://127.0.0.1:{port}")
        yield answers


@pytest.mark.parametrize(
    ("answer", "edges"),
    [
        ({"data": {**ME, "edge_count": 5, "node_count": None}}, 5),
        ({"data": {**ME, "num_edges": 5}}, 5),
        ({"data": {**ME, "edge_count": None, "num_edges": 7}}, 7),
        ({"data": {**ME, "edge_count": None}}, None),
        ({"success": True, "data": ME}, None),
        (ME, None),
    ],
)
def test_edges_are_counted_where_a_description_counts_them(
    pages: dict[str, Any], answer: Any, edges: int | None
) -> None:
    pages["/api/v2/upload/datasets/d1"] = answer
    assert web.edges("bearer", "d1") == edges
    assert pages["asked"][0].header("authorization") == "Bearer bearer"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"data": {"dataset_id": "d2"}}, "another one was described"),
        ({"success": False, "message": "secret"}, "no dataset_id"),
        ([1], "an object is expected, list was answered"),
    ],
)
def test_another_description_is_told(pages: dict[str, Any], answer: Any, message: str) -> None:
    pages["/api/v2/upload/datasets/d1"] = answer
    with pytest.raises(web.WebError, match=message) as raised:
        web.edges("bearer", "d1")
    assert "secret" not in str(raised.value)


def test_a_dataset_is_gone_only_where_that_is_said(pages: dict[str, Any]) -> None:
    found = []
    for answer in (404, 410, {"data": ME}):
        pages["/api/v2/upload/datasets/d1"] = answer
        found.append(web.is_gone("bearer", "d1"))
    assert found == [True, True, False]
    pages["/api/v2/upload/datasets/d1"] = 502
    with pytest.raises(web.WebError, match="HTTP 502"):
        web.is_gone("bearer", "d1")


def test_an_upload_has_the_documented_form(pages: dict[str, Any]) -> None:
    pages["/api/v2/upload/datasets/"] = {"success": True, "data": {"dataset_id": "d1"}}
    pages["/api/v2/upload/datasets/d1/edges/json"] = {"success": True}
    assert web.upload("bearer", "mine", {"src": [0, 1], "dst": [1, 0]}) == "d1"
    described, edges = (each.document() for each in pages["asked"])
    assert set(described) >= {"metadata", "node_encodings", "edge_encodings"}
    assert edges == {"src": [0, 1], "dst": [1, 0]}  # columns, which need no `orient`


def test_a_dataset_is_deleted_by_its_documented_page(pages: dict[str, Any]) -> None:
    pages["/api/v2/datasets/d1/"] = ""
    web.delete("bearer", "d1")
    assert pages["asked"][0].method == "DELETE"


@pytest.mark.parametrize(
    ("known", "answer", "told"),
    [
        (ME, "", ""),
        (ME, 405, "deletes no dataset"),
        (404, 404, "HTTP 404"),
        (ME, 403, "HTTP 403"),
    ],
)
def test_a_release_that_deletes_nothing_proves_nothing(
    pages: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    known: Any,
    answer: Any,
    told: str,
) -> None:
    pages["/api/v2/upload/datasets/d1"], pages["/api/v2/datasets/d1/"] = known, answer
    exercises = Exercises.__new__(Exercises)
    monkeypatch.setattr(Exercises, "_token", lambda _: "bearer")
    if not told:
        assert exercises.delete("d1") == {"deleted": "d1"}
        return
    error = web.WebError if told.startswith("HTTP") else NotProvenError
    with pytest.raises(error, match=told):
        exercises.delete("d1")


def test_what_needs_pages_that_nobody_finds_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(exercises: Exercises) -> None:
        exercises.folder = Path("/nowhere")
        exercises.compose = cast(Compose, SimpleNamespace(services=dict, containers=list))

    monkeypatch.setattr(Exercises, "__init__", begin)
    lost = Door("http://localhost", "http://localhost redirects to https", is_found=False)
    monkeypatch.setattr(web, "ADDRESS", web.ADDRESS)
    monkeypatch.setattr("agent.graphistry.door.find", lambda *_: lost)
    assert exercise("upload", ["name"]) == 0
    assert json.loads(capsys.readouterr().out) == {"notProven": lost.why}
    assert exercise("workers", []) == 0
    assert "notProven" not in capsys.readouterr().out


@pytest.mark.parametrize("ask", [lambda: web.status("/"), lambda: web.token("a", "b")])
def test_who_answers_nothing_of_http_is_told(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")

    monkeypatch.setattr(web, "ADDRESS", f"http://127.0.0.1:{serve(speak)}")
    with pytest.raises(web.WebError, match=r"SSH-2\.0"):
        ask()
