"""`./cluster list`: a row for each stack file, whatever is wrong with it, and nothing is started."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import operate.__main__ as commands
from operate.stack import deployment, listed
from sandbox import workbench
from tests.harness import ROOT

STARTED = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass
class Running:
    """A sandbox that runs."""

    started: datetime = STARTED


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the shipped stack files and a wrong one; no sandbox, no workbench and no engine."""
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    for file in (ROOT / "stacks").glob("*.yaml"):
        (stacks / file.name).write_text(file.read_text())
    (stacks / "Pulumi.broken.yaml").write_text("config:\n  aws:region: us-east-1\n")
    (stacks / "Pulumi.noyaml.yaml").write_text("config: [\n")
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    monkeypatch.setattr(deployment, "SANDBOX_DIRECTORY", tmp_path / ".sandbox")
    monkeypatch.setattr(workbench, "find", lambda _: None)
    monkeypatch.setattr(listed, "find_engine", lambda: (None, ["none"]))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    return tmp_path


def listing(*words: str) -> Result:
    done = CliRunner().invoke(commands.app, ["list", *words])
    assert done.exit_code == 0, done.output
    return done


def rows() -> dict[str, dict[str, Any]]:
    return {each["stack"]: each for each in json.loads(listing("--json").stdout)}


def engine(checkout: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A pulumi that answers by a shell script."""
    program = checkout / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(listed, "find_engine", lambda: (program.parent, []))


def recorded(checkout: Path, stack: str, changed: datetime, resources: int) -> None:
    state = checkout / ".sandbox" / "state" / ".pulumi" / "stacks" / "graphistry-cluster"
    state.mkdir(parents=True, exist_ok=True)
    latest = {"manifest": {"time": changed.isoformat()}, "resources": [{}] * resources}
    (state / f"{stack}.json").write_text(json.dumps({"checkpoint": {"latest": latest}}))


def test_every_stack_has_its_site_its_size_and_where_it_goes(checkout: Path) -> None:
    assert checkout
    found = rows()
    size = {name: (row["leader"], row["followers"], row["gpus"]) for name, row in found.items()}
    assert size["sandbox"] == (True, 2, 6)
    assert size["onprem"] == (True, 2, 9)
    assert size["gpu-team"] == (False, 2, 5)
    assert size["prod"] == (True, 4, 1 + 1 + 4 + 6 + 1)  # research uses 6 of its 8
    goes = {name: (row["site"], row["target"]) for name, row in found.items()}
    assert goes["sandbox"] == ("aws", "sandbox")
    assert goes["onprem-sandbox"] == ("hosts", "sandbox")
    assert goes["prod"] == ("aws", "AWS")
    assert goes["onprem"] == ("hosts", "hosts")


def test_a_wrong_stack_file_is_a_row_that_says_so(checkout: Path) -> None:
    assert checkout
    found = rows()
    assert "./cluster preview broken` lists them" in found["broken"]["problem"]
    assert "stacks/Pulumi.noyaml.yaml is not YAML" in found["noyaml"]["problem"]
    assert found["prod"]["problem"] == ""
    shown = listing()
    assert len([line for line in shown.stdout.splitlines() if " wrong " in line]) == 2
    assert "noyaml: stacks/Pulumi.noyaml.yaml is not YAML" in shown.stderr


def test_the_sandbox_has_what_was_deployed_since_it_began(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(checkout, "sandbox", STARTED + timedelta(minutes=1), 90)
    assert rows()["sandbox"]["deployed"]["deployed"] is False  # no sandbox runs
    monkeypatch.setattr(listed, "find_sandbox", lambda _: Running())
    recorded(checkout, "onprem-sandbox", STARTED - timedelta(minutes=1), 90)
    recorded(checkout, "dev", STARTED + timedelta(minutes=1), 1)
    recorded(checkout, "prod", STARTED + timedelta(minutes=1), 12)
    found = rows()
    assert found["sandbox"]["deployed"] == {"deployed": True, "resources": 90, "reason": ""}
    assert found["onprem-sandbox"]["deployed"]["deployed"] is False  # it was in an earlier sandbox
    assert found["dev"]["rehearsed"]["deployed"] is False
    assert found["prod"]["rehearsed"]["resources"] == 12
    assert found["sandbox"]["rehearsed"] is None


def test_the_table_fits_into_a_terminal(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(checkout, monkeypatch, 'echo \'[{"name": "prod", "resourceCount": 187}]\'')
    monkeypatch.setattr(listed, "find_sandbox", lambda _: Running())
    recorded(checkout, "onprem-sandbox", STARTED + timedelta(minutes=1), 121)
    recorded(checkout, "prod", STARTED + timedelta(minutes=1), 187)
    lines = [line.rstrip() for line in listing().stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    (prod,) = [each.split() for each in lines if each.startswith("prod ")]
    assert " ".join(prod) == "prod aws leader + 4, 13 GPUs AWS 187 resources yes"


def test_a_state_that_cannot_be_read_is_no_answer(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "find_sandbox", lambda _: Running())
    recorded(checkout, "sandbox", STARTED, 2)
    state = checkout / ".sandbox/state/.pulumi/stacks/graphistry-cluster/sandbox.json"
    state.write_text("{")
    found = rows()["sandbox"]["deployed"]
    assert found["deployed"] is None
    assert "cannot be read" in found["reason"]
    assert "? in the sandbox: " in listing().stderr


def test_pulumi_is_asked_whether_others_are_deployed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [{"name": "us/prod", "resourceCount": 87}, {"name": "dev", "resourceCount": 1}]
    engine(checkout, monkeypatch, f"echo \"$*\" > asked; echo '{json.dumps(answer)}'")
    found = rows()
    assert found["prod"]["deployed"] == {"deployed": True, "resources": 87, "reason": ""}
    assert found["dev"]["deployed"]["deployed"] is False
    assert found["onprem"]["deployed"]["deployed"] is False
    assert (checkout / "asked").read_text().strip() == "stack ls --json --non-interactive"
    assert "87 resources" in listing().stdout


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'error: PULUMI_ACCESS_TOKEN must be set' >&2; exit 3", "`pulumi login` does"),
        ("echo 'error: no such bucket' >&2; exit 1", "no such bucket"),
        ("echo nothing", "cannot be read"),
        ("exec sleep 60", "did not answer within 0.2 seconds"),
    ],
)
def test_a_backend_without_an_answer_is_a_question_mark_with_the_reason(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(listed, "ANSWER_SECONDS", 0.2)
    engine(checkout, monkeypatch, script)
    if "sleep" not in script:
        monkeypatch.setattr(listed, "ANSWER_SECONDS", 10)
    found = rows()["prod"]["deployed"]
    assert found["deployed"] is None
    assert reason in found["reason"]
    shown = listing()
    assert reason in shown.stderr
    (line,) = [each for each in shown.stdout.splitlines() if each.startswith("prod ")]
    assert " ? " in line


def test_nothing_is_downloaded_or_started_for_a_list(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("start", "prepare", "ensure"):
        monkeypatch.setattr(deployment, name, never)
    monkeypatch.setattr(workbench, "start", never)
    before = sorted(checkout.rglob("*"))
    reason = rows()["prod"]["deployed"]["reason"]
    assert "no Pulumi engine yet" in reason
    assert sorted(checkout.rglob("*")) == before


def test_a_shell_that_points_to_the_sandbox_says_nothing_of_aws(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(checkout, monkeypatch, 'echo \'[{"name": "prod", "resourceCount": 87}]\'')
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sandbox")
    found = rows()["prod"]["deployed"]
    assert found["deployed"] is None
    assert "points to the sandbox" in found["reason"]


def test_a_checkout_without_stacks_names_init(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (checkout / "stacks").iterdir():
        file.unlink()
    assert "./cluster init NAME" in listing().stderr
