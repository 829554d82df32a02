"""How often a report is written: at once where there is news, seldom where there is none."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jsonschema
import pytest

from agent import limits, report
from agent.report import Report
from model.node_report import NodeReport

SCHEMA = json.loads(Path(report.__file__).with_name("node_report.schema.json").read_text())


def written(
    monkeypatch: pytest.MonkeyPatch, folder: Path, state: str, *, enough: int = 99
) -> list[bytes]:
    """What is written of a node within half a second without news, or until it is *enough*."""
    monkeypatch.setattr(limits, "WATCH", 0.05)
    found: list[bytes] = []
    beating = Report({"id": "i-1"}, found.append, folder / "report.json")
    beating.state(state)
    beating.start_heartbeat()
    end = time.monotonic() + 0.5
    while len(found) < enough and time.monotonic() < end:
        time.sleep(0.01)
    return found


def test_a_ready_node_reports_seldom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(written(monkeypatch, tmp_path, "ready")) == 1


def test_a_ready_node_is_not_silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "READY_SECONDS", 0.2)
    assert len(written(monkeypatch, tmp_path, "ready", enough=2)) >= 2


@pytest.mark.parametrize("state", ["converging", "failed", "degraded"])
def test_a_node_at_work_reports_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str
) -> None:
    assert len(written(monkeypatch, tmp_path, state, enough=4)) >= 4


def test_a_disk_that_is_full_is_reported_all_the_same(tmp_path: Path) -> None:
    found: list[bytes] = []
    Report({"id": "i-1"}, found.append, tmp_path / "no-such-folder" / "report.json").state("failed")
    assert len(found) == 1


def test_what_is_written_is_what_both_sides_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (content,) = written(monkeypatch, tmp_path, "ready", enough=1)
    jsonschema.validate(json.loads(content), SCHEMA)
    assert NodeReport.model_validate_json(content).state == "ready"
