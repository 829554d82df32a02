"""What a wait on the host makes of reports, and what it tells."""

import json
import os
import time
from typing import Any

import pytest

from agent.report import now
from agent.sites import wait as waits
from agent.sites.wait import Observation, judge, status, wait
from agent.verdict import Verdict

from .fakes import FakeMachine

WANTED, OTHER = "a" * 64, "b" * 64
FAILURE = {
    "phase": "release",
    "code": "ReleaseMissing",
    "message": "there is no release",
    "hint": "bring one",
    "log": ["last words"],
}


def report(state: str = "converging", **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "state": state,
        "phase": "secrets",
        "specification": WANTED,
        "instance": {"id": "0", "address": "10.77.0.11"},
        "phases": [],
        "checks": [],
        "failure": None,
        "heartbeat": now(),
    }
    return {**found, **changes}


def seen(document: dict[str, Any] | None, **changes: Any) -> Observation:
    values = {"elapsed_seconds": 1.0, "agent": "active", "report": document, "age_seconds": 1.0}
    return Observation(**{**values, **changes})


def failed(**changes: Any) -> dict[str, Any]:
    return report("failed", failure={**FAILURE, "at": now()}, **changes)


RUNNING = [{"name": "release", "state": "running", "seconds": 0}]


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (seen(None), "waiting"),
        (seen(None, elapsed_seconds=241.0), "failed"),
        (seen(report("ready")), "ready"),
        (seen(report("ready"), age_seconds=241.0), "waiting"),
        (seen(report("ready"), age_seconds=400.0, elapsed_seconds=121.0), "failed"),
        (seen(report("ready", specification=OTHER)), "waiting"),
        (seen(report("ready", specification=OTHER), elapsed_seconds=241.0), "failed"),
        (seen(report(specification=OTHER, phases=RUNNING), elapsed_seconds=241.0), "waiting"),
        (seen(report(), elapsed_seconds=3599.0), "waiting"),
        (seen(report(), elapsed_seconds=3601.0), "failed"),
        (seen(failed(), age_seconds=0.5), "failed"),
        (seen(failed(), age_seconds=30.0), "waiting"),
        (seen(failed(), age_seconds=130.0, elapsed_seconds=121.0), "failed"),
        (seen(failed(phases=RUNNING), age_seconds=130.0, elapsed_seconds=121.0), "waiting"),
        (seen(failed(specification=OTHER)), "waiting"),
        (seen(report("degraded", failure=FAILURE)), "waiting"),
        (seen(report("degraded", failure=FAILURE), elapsed_seconds=301.0), "failed"),
        (seen(report("stopped")), "waiting"),
        (seen(report(), agent="inactive", inactive_seconds=14.0), "waiting"),
        (seen(report(), agent="inactive", inactive_seconds=16.0), "failed"),
        (seen(report("ready"), agent="absent", inactive_seconds=16.0), "failed"),
        (seen(report(), restarts=3), "waiting"),
        (seen(report(), restarts=4), "failed"),
    ],
)
def test_when_a_wait_ends(observation: Observation, outcome: str, fake: FakeMachine) -> None:
    assert fake
    assert judge(observation, WANTED).outcome == outcome


def test_a_failure_of_an_earlier_specification_is_not_this_ones(fake: FakeMachine) -> None:
    assert fake
    verdict = judge(seen(failed(specification=OTHER)), WANTED)
    assert verdict == Verdict("waiting", "its agent has not read the new specification")


@pytest.fixture
def written(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reports that the agent writes one after the other, one a look."""
    monkeypatch.setattr(waits, "POLL_SECONDS", 0)
    (fake.root / "units").mkdir()
    (fake.root / "units" / "graphistry-cluster-agent.service").touch()
    document = json.dumps(fake.host_document("follower"))
    (fake.home / "wanted.json").write_text(document)

    def write(*documents: dict[str, Any]) -> None:
        left = list(documents)
        read = waits.read

        def next_report() -> Any:
            (fake.home / "report.json").write_text(json.dumps(left.pop(0)))
            return read()

        monkeypatch.setattr(waits, "read", next_report)

    return write


def test_each_phase_is_told_once_and_then_the_times(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = [
        {"name": "preflight", "state": "done", "seconds": 0.3},
        {"name": "release", "state": "done", "seconds": 12.4},
    ]
    written(report(), report(), report(phase="release"), report("ready", phases=phases))
    assert wait(WANTED) == 0
    assert capsys.readouterr().out.splitlines() == [
        "secrets (0 s)",
        "release (0 s)",
        "ready (release 12 s)",
    ]


def test_a_failure_is_told_as_the_operators_commands_do(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    written(report(phase="release"), failed())
    assert wait(WANTED) == 1
    assert capsys.readouterr().err.splitlines() == [
        "small is not ready: failed in release",
        "  phase    release",
        "  code     ReleaseMissing",
        "  reason   there is no release",
        "  hint     bring one",
        "  machine  10.77.0.11",
        "  log      last words",
    ]


def test_a_dead_agent_is_told_with_its_last_words(
    fake: FakeMachine,
    written: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (fake.root / "agent-state").write_text("failed\n")
    fake.command("journalctl", "echo SyntaxError")
    monkeypatch.setattr(waits, "DEAD_SECONDS", 0)
    written(*[report()] * 3)
    assert wait(WANTED) == 1
    said = capsys.readouterr().err
    assert "code     AgentStopped" in said
    assert "log      SyntaxError" in said


def test_an_agent_that_ends_again_and_again_is_told(
    fake: FakeMachine, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (fake.root / "bin" / "systemctl").read_text().replace("#!/bin/sh\n", "")
    count = f'[ "$2" != --property=NRestarts ] || {{ wc -l < "{fake.root}/systemctl.log"; exit; }}'
    fake.command("systemctl", f"{script}\n".replace("case", f"{count}\ncase", 1))
    written(*[report()] * 9)
    assert wait(WANTED) == 1
    assert "code     AgentStopped" in capsys.readouterr().err


def test_status_is_the_report_its_age_and_the_agents_state(fake: FakeMachine, written: Any) -> None:
    assert written
    file = fake.home / "report.json"
    file.write_text(json.dumps(report("ready")))
    os.utime(file, (time.time() - 100,) * 2)
    found = status()
    assert found["report"]["state"] == "ready"
    assert 99 < found["ageSeconds"] < 110
    assert found["agent"] == "active"
