"""What ends `up` on hosts: a node that is mended by itself in a moment is waited for, another is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operate import hosts_nodes
from operate.hosts import Hosts
from operate.hosts_nodes import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    nodes_on_hosts,
    settled_nodes_on_hosts,
)
from operate.run_command import Answer
from operate.sandbox_hosts import Unlike
from operate.screen import show_nodes

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ENTRY = {"profile": "t4", "gpus": 1, "address": "10.77.0.11"}
OUTPUTS = {"leader": ENTRY, "followers": {"small": ENTRY}}


class Reports:
    """Hosts whose agents say one thing after the other, the last one for ever."""

    def __init__(self, **said: list[dict[str, Any]]) -> None:
        self.access = dict.fromkeys(said)
        self.failures: dict[str, Exception] = {}
        self.unlike: dict[str, Unlike] = {}
        self.looks = 0
        self._left = said

    def run(self, nodes: list[str], command: str, **_: Any) -> dict[str, Answer]:
        assert command == hosts_nodes.STATUS
        self.looks += 1
        return {node: Answer(succeeded=True, output=self._say(node), error="") for node in nodes}

    def _say(self, node: str) -> str:
        left = self._left[node]
        report = left.pop(0) if len(left) > 1 else left[0]
        return json.dumps({"agent": "active", "ageSeconds": 1.0, "report": report})


def report(state: str, since: float = 1.0) -> dict[str, Any]:
    failure = {"phase": "verify", "code": "LeaderUnreachable", "message": "it does not answer"}
    at = NOW - timedelta(seconds=since)
    return {
        "state": state,
        "phase": "verify",
        "heartbeat": NOW.isoformat(),
        "failure": {**failure, "at": at.isoformat()} if state in ("degraded", "failed") else None,
    }


READY = report("ready")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes while somebody sleeps, and then only."""
    naps: list[float] = []
    passing = SimpleNamespace(monotonic=lambda: sum(naps), sleep=naps.append)
    monkeypatch.setattr(hosts_nodes, "time", passing)


def settled(*small: dict[str, Any]) -> tuple[str, int]:
    """The state of a follower that reports this, as `up` tells it, and after how many looks."""
    hosts = Reports(leader=[READY], small=list(small))
    found = {node.name: node.state for node in settled_nodes_on_hosts(cast(Hosts, hosts), OUTPUTS)}
    assert found["leader"] == "ready"
    return found["small"], hosts.looks


@pytest.mark.parametrize("state", ["degraded", "converging", "failed"])
def test_what_passes_in_a_moment_is_waited_for(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settled(report(state), report(state), READY) == ("ready", 3)
    assert capsys.readouterr().err.count(f"waiting for small ({state}: ") == 1


@pytest.mark.parametrize("state", ["degraded", "failed"])
def test_what_does_not_pass_is_told_in_the_end(state: str) -> None:
    looks = 1 + PATIENCE_SECONDS[state] / POLL_SECONDS
    assert settled(report(state)) == (f"{state}: LeaderUnreachable", looks)


def test_what_has_not_passed_for_long_is_told_at_once() -> None:
    assert settled(report("degraded", since=400), READY) == ("degraded: LeaderUnreachable", 1)


def test_what_is_ready_or_stopped_is_told_at_once() -> None:
    assert settled(READY) == ("ready", 1)
    assert settled(report("stopped"), READY) == ("stopped", 1)


def test_a_node_of_a_rehearsal_may_have_no_machine_yet() -> None:
    hosts = Reports(leader=[READY], small=[READY])
    hosts.unlike = {"small": Unlike.NOT_BOOTED, "leader": Unlike.OTHER_GPUS}
    found = {node.name: node.state for node in nodes_on_hosts(cast(Hosts, hosts), OUTPUTS)}
    assert found == {"leader": "ready", "small": "not booted"}


def test_what_an_agent_warns_of_is_shown_below_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warning = "data (/mnt/graphistry-data) is 90 % full, 10.0 of 100 GiB free"
    hosts = Reports(leader=[{**READY, "warnings": [warning]}], small=[READY])
    found = nodes_on_hosts(cast(Hosts, hosts), OUTPUTS)
    assert [node.warnings for node in found] == [(warning,), ()]
    show_nodes(found, as_json=False)
    assert f"warning: leader: {warning}" in " ".join(capsys.readouterr().err.split())
