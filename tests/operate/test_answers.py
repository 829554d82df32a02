"""Pulumi is asked once about a state that nothing changes: each question takes it a fifth of a second."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.problems import UserError
from operate.stack.deployment import Deployment, Target

PULUMI = """#!/bin/sh
echo "$*" >>{folder}/asked
[ ! -e {folder}/broken ] || exit 1
case "$2" in
ls) echo '[{{"name": "dev"}}]' ;;
export) echo '{{"deployment": {{"resources": []}}}}' ;;
output) echo '{{"a": 1}}' ;;
esac
"""


class Spied:
    """A deployment whose Pulumi writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pulumi = folder / "pulumi"
        pulumi.write_text(PULUMI.format(folder=folder))
        pulumi.chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        self.opened = Deployment(
            stack="dev",
            target=Target.AWS,
            environment={"PATH": path, "HOME": str(folder), "PULUMI_HOME": str(folder)},
            config_file=folder / "Pulumi.dev.yaml",
        )

    def look(self) -> list[str]:
        """What it was asked by three looks at the state."""
        (self.folder / "asked").unlink(missing_ok=True)
        assert self.opened.exists()
        assert self.opened.checkpoint() == {"resources": []}
        assert self.opened.outputs() == {"a": 1}
        asked = self.folder / "asked"
        return (
            [line.split()[1] for line in asked.read_text().splitlines()] if asked.exists() else []
        )


@pytest.fixture
def spied(tmp_path: Path) -> Spied:
    return Spied(tmp_path)


def test_each_question_is_asked_once(spied: Spied) -> None:
    assert spied.look() == ["ls", "export", "output"]
    assert spied.look() == []


def test_a_change_of_an_answer_changes_no_other(spied: Spied) -> None:
    spied.opened.checkpoint()["resources"].append("mine")
    assert spied.opened.checkpoint() == {"resources": []}


def test_questions_are_asked_anew_after_a_run(spied: Spied) -> None:
    spied.look()
    spied.opened.run("up")
    assert spied.look() == ["ls", "export", "output"]


@pytest.mark.parametrize(
    "change", [("stack", "import"), ("state", "protect"), ("stack", "rm"), ("config", "set")]
)
def test_questions_are_asked_anew_after_a_change(spied: Spied, change: tuple[str, str]) -> None:
    spied.look()
    spied.opened.read(*change)
    assert spied.look() == ["ls", "export", "output"]


def test_a_question_that_failed_is_asked_again(spied: Spied) -> None:
    (spied.folder / "broken").touch()
    with pytest.raises(UserError):
        spied.opened.exists()
    (spied.folder / "broken").unlink()
    assert spied.opened.exists()
