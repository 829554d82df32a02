"""What ends `up`: a node that is ready again by itself in a moment is waited for, another is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from model.node_report import NodeReport
from operate.nodes import settled as module
from operate.nodes.on_aws import Node, Seen, explained
from operate.nodes.reports import Read
from operate.nodes.settled import (
    MACHINE_PATIENCE,
    POLL_SECONDS,
    REPORT_PATIENCE,
    explanation,
    settled,
    unready,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def read(state: str, since: float = 1.0, age: float = 1.0, *, recovers: bool = True) -> Read:
    failure = {
        "phase": "verify",
        "code": "GpuUnavailable",
        "message": "nvidia-smi: Unknown [Error]",
        "hint": "reboot the node",
        "log": ["first", "last line"],
        "at": NOW - timedelta(seconds=since),
    }
    report = {
        "state": state,
        "phase": "verify",
        "heartbeat": NOW,
        "mayRecover": recovers,
        "failure": failure if state in ("degraded", "failed") else None,
    }
    return Read(report=NodeReport.model_validate(report), age_seconds=age)


def node(state: str, report: Read | None = None) -> Node:
    return Node(
        name="small",
        role="follower",
        profile="t4",
        market="spot",
        gpus_used=1,
        machine=None,
        state=state,
        **explained(report),
    )


def seen(report: Read) -> Seen:
    return Seen(node=node(report.report.state, report), report=report)


def without_report(state: str, age: float = 1.0) -> Seen:
    return Seen(node=node(state), report=None, machine_age_seconds=age)


READY = seen(read("ready"))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes while somebody sleeps, and then only."""
    naps: list[float] = []
    passing = SimpleNamespace(monotonic=lambda: sum(naps), sleep=naps.append)
    monkeypatch.setattr(module, "time", passing)


def looks(*moments: Seen) -> tuple[str, int]:
    """The state of a node in the end, and how many looks that took; the last moment stays for ever."""
    left, count = list(moments), 0

    def look() -> list[Seen]:
        nonlocal count
        count += 1
        return [READY, left.pop(0) if len(left) > 1 else left[0]]

    leader, small = settled(look)
    assert leader.state == "ready"
    return small.state, count


@pytest.mark.parametrize("state", ["degraded", "converging", "failed"])
def test_what_passes_in_a_moment_is_waited_for(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert looks(seen(read(state)), seen(read(state)), READY) == ("ready", 3)
    assert capsys.readouterr().err.count(f"waiting for small ({state}") == 1


@pytest.mark.parametrize("state", ["degraded", "failed"])
def test_what_does_not_pass_is_reported_in_the_end(state: str) -> None:
    assert looks(seen(read(state))) == (state, 1 + REPORT_PATIENCE[state] / POLL_SECONDS)


def test_what_has_not_passed_for_long_is_reported_at_once() -> None:
    assert looks(seen(read("degraded", since=400)), READY) == ("degraded", 1)


def test_what_its_agent_has_given_up_is_reported_at_once() -> None:
    assert looks(seen(read("degraded", recovers=False)), READY) == ("degraded", 1)


def test_what_is_ready_stopped_or_silent_is_reported_at_once() -> None:
    assert looks(READY) == ("ready", 1)
    assert looks(seen(read("stopped")), READY) == ("stopped", 1)
    assert looks(seen(read("converging", age=900)), READY) == ("converging", 1)


@pytest.mark.parametrize("state", MACHINE_PATIENCE)
def test_a_machine_that_its_group_replaces_is_waited_for(state: str) -> None:
    assert looks(without_report(state), READY) == ("ready", 2)
    assert looks(without_report(state, age=MACHINE_PATIENCE[state]), READY) == (state, 1)


@pytest.mark.parametrize(
    "state", ["stopped", "no machine: InsufficientInstanceCapacity", "unreachable", "no agent"]
)
def test_what_brings_no_machine_by_itself_is_reported_at_once(state: str) -> None:
    assert looks(without_report(state), READY) == (state, 1)


def every_state() -> Iterator[str]:
    yield from MACHINE_PATIENCE
    yield from ("degraded: GpuUnavailable", "converging: start", "silent for 900 s", "stopped")


def test_only_ready_is_ready() -> None:
    found = [node(state) for state in every_state()]
    assert unready([*found, node("ready")], booted=True) == found
    assert unready([*found, node("ready")], booted=False) == found


def test_a_recorded_machine_is_no_failure_where_none_boots() -> None:
    recorded = [node("not booted")]
    assert unready(recorded, booted=False) == []
    assert unready(recorded, booted=True) == recorded


def test_a_node_that_is_not_ready_is_explained_in_its_agents_words() -> None:
    assert explanation(node("degraded: GpuUnavailable", read("degraded"))) == [
        "small is not ready: degraded: GpuUnavailable",
        "  reason   nvidia-smi: Unknown [Error]",
        "  hint     reboot the node",
        "  log      last line",
    ]
    same = dataclasses.replace(node("degraded"), reason="no: last line", log="last line")
    assert explanation(same) == ["small is not ready: degraded", "  reason   no: last line"]
    assert explanation(node("stopped")) == ["small is not ready: stopped"]
