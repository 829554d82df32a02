"""Where somebody is asked: Pulumi shows its plan with the terminal, and changes nothing before a yes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from operate.stack import deployment
from operate.stack.deployment import Deployment, Target
from tests.harness import ROOT

PULUMI = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1 $2" in
"stack export") echo '{{"deployment": {{}}}}' ;;
esac
"""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(PULUMI.format(folder=tmp_path))
    pulumi.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.setattr(deployment, "has_screen", lambda: True)
    file = ROOT / "stacks" / "Pulumi.sandbox.yaml"
    return Deployment(stack="lab", target=Target.AWS, environment=environment, config_file=file)


def asked(tmp_path: Path) -> list[str]:
    """What Pulumi was asked to do with the stack, without what names it."""
    lines = (tmp_path / "asked").read_text().splitlines()
    return [line.partition(" --stack")[0] for line in lines if not line.startswith("stack ")]


@pytest.mark.parametrize("yes", [True, False])
def test_up_shows_the_plan_and_goes_on_after_a_yes(
    yes: bool, opened: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda _: yes)
    assert opened.up("--refresh", "--continue-on-error") == (0 if yes else 1, [])
    changed = ["up --yes --skip-preview --refresh --continue-on-error"] if yes else []
    assert asked(tmp_path) == ["preview --refresh", *changed]


@pytest.mark.parametrize("yes", [True, False])
def test_down_shows_the_plan_and_goes_on_after_a_yes(
    yes: bool, opened: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda _: yes)
    assert opened.destroy("--exclude-protected") == (0 if yes else 1)
    changed = ["destroy --yes --skip-preview --exclude-protected"] if yes else []
    assert asked(tmp_path) == ["destroy --preview-only --exclude-protected", *changed]


def test_pulumi_asks_by_itself_in_its_own_view(opened: Deployment, tmp_path: Path) -> None:
    assert opened.up("--refresh", pulumis_view=True) == (0, [])
    assert asked(tmp_path) == ["up --refresh"]
