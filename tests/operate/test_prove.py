"""Proving: a promise that a node breaks is told as broken, whichever it is."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from operate.commands import proofs as proving
from operate.commands.proofs import Nodes, Proof, proofs
from operate.stack.run_command import Answer

ADDRESSES = {"leader": "10.40.0.10", "small": "10.40.0.11", "large": "10.40.0.12"}
GPU = {"cudaVisibleDevices": "0", "forgeWorkers": 4, "streamglWorkers": 4, "daskWorkers": 1}
WORKERS = {
    "CUDA_VISIBLE_DEVICES": "0",
    "FORGE_NUM_WORKERS": "4",
    "STREAMGL_NUM_WORKERS": "4",
    "DASK_NUM_WORKERS": "1",
}

TALKING: dict[str, Any] = {
    "wrong": [],
    "promises": [
        {"to": "the leader's Redis", "services": ["nexus", "forge-etl-python"], "missing": []},
        {"to": "this node's own Redis", "services": ["streamgl-viz"], "missing": []},
    ],
}


def sound(node: str, exercise: str, settings: dict[str, str]) -> Any:
    """What a sound cluster answers."""
    return {
        "upload": {"datasetId": "d1"},
        "read": {"edges": 3},
        "visualize": {"answered": True, "newLocalKeys": ["session:1"], "alsoOnLeader": []},
        "delete": {"deleted": "d1"},
        "gone": {"gone": True},
        "sign-up": {},
        "sign-in": {"signedIn": True},
        "set-setting": {},
        "get-setting": {"value": settings.get("value", "")},
        "connections": TALKING,
        "services": {"postgresRuns": node == "leader"},
        "workers": WORKERS,
        "tunnel": {"bytes": 10, "sent": 11, "received": 12, "openOutside": []},
    }[exercise]


def try_all(
    monkeypatch: pytest.MonkeyPatch,
    broken: dict[tuple[str, str], Any],
    inside: dict[str, str] | None = None,
) -> list[Proof]:
    """All proofs of a cluster that is sound but for *broken*, (node, exercise) to its answer."""
    settings: dict[str, str] = {}

    def run(chosen: Collection[str], command: str) -> dict[str, Answer]:
        exercise, *arguments = command.removeprefix(f"{proving.AGENT} ").split()
        if exercise == "set-setting":
            settings["value"] = arguments[-1]
        answers = {
            node: broken.get((node, exercise), sound(node, exercise, settings)) for node in chosen
        }
        return {
            node: Answer(succeeded=True, output=json.dumps(answer), error="")
            for node, answer in answers.items()
        }

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr("socket.create_connection", refuse)
    nodes = Nodes(addresses=ADDRESSES, run=run, specification=lambda _: {"gpu": GPU}, inside=inside)
    return list(proofs(nodes))


def test_a_sound_cluster_keeps_every_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = try_all(monkeypatch, {})
    assert len(seen) > 20
    assert [each for each in seen if each.kept is not True] == []
    assert {each.node for each in seen if each.promise == "what large deletes is gone"} == set(
        ADDRESSES
    )


@pytest.mark.parametrize(
    ("node", "exercise", "answer"),
    [
        ("leader", "upload", {"error": "507"}),
        ("small", "read", {"edges": 0}),
        ("large", "read", {"error": "404"}),
        ("large", "visualize", {"error": "/graph/socket.io/: HTTP 502"}),
        ("large", "visualize", {"answered": True, "newLocalKeys": ["k"], "alsoOnLeader": ["k"]}),
        ("large", "delete", {"error": "403"}),
        ("small", "gone", {"gone": False}),
        ("small", "gone", {"error": "HTTP 502"}),
        ("large", "sign-up", {"error": "no"}),
        ("small", "sign-in", {"signedIn": False}),
        ("small", "get-setting", {"value": "old"}),
        ("small", "connections", {**TALKING, "wrong": ["nexus talks to 10.9.9.9:6379's Redis"]}),
        ("leader", "connections", {"error": "HTTP 502"}),
        ("small", "services", {"postgresRuns": True}),
        ("leader", "services", {"postgresRuns": False}),
        ("large", "workers", {**WORKERS, "FORGE_NUM_WORKERS": "16"}),
    ],
)
def test_a_broken_promise_is_told(
    monkeypatch: pytest.MonkeyPatch, node: str, exercise: str, answer: dict[str, Any]
) -> None:
    broken = [each for each in try_all(monkeypatch, {(node, exercise): answer}) if not each.kept]
    assert broken
    assert node in {each.node for each in broken}


@pytest.mark.parametrize(
    ("exercise", "answer", "unknown"),
    [
        ("visualize", {"notProven": "the page names no socket"}, 4),
        ("visualize", {"answered": True, "newLocalKeys": [], "alsoOnLeader": []}, 2),
        ("delete", {"notProven": "HTTP 405"}, 2),
        (
            "connections",
            {**TALKING, "promises": [{**TALKING["promises"][0], "missing": ["forge-etl-python"]}]},
            1,
        ),
    ],
)
def test_what_nobody_can_tell_is_neither_kept_nor_broken(
    monkeypatch: pytest.MonkeyPatch, exercise: str, answer: dict[str, Any], unknown: int
) -> None:
    seen = try_all(monkeypatch, {("large", exercise): answer})
    found = [each for each in seen if each.kept is not True]
    assert {(each.kept, each.node) for each in found} == {(None, "large")}
    assert len(found) == unknown


@pytest.mark.parametrize("node", ADDRESSES)
def test_a_node_whose_pages_nobody_knows_a_name_of_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    why = "http://localhost redirects to https, and the Caddyfile names no site"
    by_pages = ("upload", "read", "visualize", "delete", "gone", "sign-in", "connections")
    seen = try_all(monkeypatch, {(node, exercise): {"notProven": why} for exercise in by_pages})
    found = [each for each in seen if each.kept is not True]
    assert {(each.kept, each.node, each.seen) for each in found} == {(None, node, why)}
    promises = {each.promise for each in found}
    assert f"sign in with the account of {[*ADDRESSES][-1]}" in promises
    assert "no service talks to another Redis or PostgreSQL" in promises


def test_a_description_that_counts_no_edges_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = try_all(monkeypatch, {("small", "read"): {"edges": None}})
    assert all(each.kept for each in seen)
    assert "counts no edges" in next(each.seen for each in seen if each.promise.startswith("read"))


class Server:
    """Two servers, PostgreSQL and then Redis, that answer one byte each; none where *answers* is empty."""

    def __init__(self, answers: bytes) -> None:
        self._answers = [bytes([each]) for each in answers] or [b"", b""]

    def __call__(self, *_: Any, **__: Any) -> Server:
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def sendall(self, _: bytes) -> None:
        """Take the greeting."""

    def recv(self, _: int) -> bytes:
        return self._answers.pop(0)


def test_an_open_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(addresses=ADDRESSES, run=lambda *_: {}, specification=lambda _: {"gpu": GPU})
    for answers, kept in ((b"N-", False), (b"", True)):
        monkeypatch.setattr("socket.create_connection", Server(answers))
        seen = list(proving.data_services_are_closed_to_strangers(nodes))
        assert {each.kept for each in seen} == {kept}


def test_what_is_not_json_is_told_by_its_last_line() -> None:
    answer = Answer(succeeded=False, output="", error="Traceback\nOSError: no such file")
    with pytest.raises(ValueError, match="no such file"):
        answer.json()


INSIDE = {node: address.replace("10.40", "198.18") for node, address in ADDRESSES.items()}
THROUGH = "traffic to the leader goes through WireGuard"
OUTSIDE = "the leader's data services are closed outside of WireGuard"


def test_a_tunnel_is_proven_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = try_all(monkeypatch, {}, INSIDE)
    assert [each for each in seen if not each.kept] == []
    assert {each.node for each in seen if each.promise in (THROUGH, OUTSIDE)} == {"small", "large"}
    assert not [each for each in try_all(monkeypatch, {}) if each.promise in (THROUGH, OUTSIDE)]


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        ({"bytes": 10, "sent": 11, "received": 2, "openOutside": []}, [THROUGH]),
        ({"bytes": 10, "sent": 11, "received": 12, "openOutside": [5432]}, [OUTSIDE]),
        ({"error": "this node has no tunnel"}, [THROUGH, OUTSIDE]),
    ],
    ids=str,
)
def test_a_tunnel_that_carries_nothing_or_not_all_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], broken: list[str]
) -> None:
    seen = try_all(monkeypatch, {("small", "tunnel"): answer}, INSIDE)
    assert [(each.promise, each.node) for each in seen if not each.kept] == [
        (promise, "small") for promise in broken
    ]
