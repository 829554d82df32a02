"""The Makefile refuses what it would ignore."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.harness import ROOT


def make(*words: str, level: str = "0") -> subprocess.CompletedProcess[str]:
    """What make would run for some words, of which it runs nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(
        ["make", "--dry-run", *words],
        cwd=ROOT,
        env={**environment, "MAKELEVEL": level},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("typed", ["STACK=dev", "stack=dev", "NODES=a b", "YES=1"])
def test_a_variable_is_refused_with_the_words_of_the_command_line(typed: str) -> None:
    done = make("up", typed)
    assert done.returncode == 2
    assert "./cluster up\n" not in done.stdout
    name = typed.partition("=")[0]
    assert f"{name}=: make takes no such variable" in done.stderr
    assert "./cluster up prod --target sandbox" in done.stderr


@pytest.mark.parametrize("typed", ["PYTHON3=python3", "SHELL=/bin/sh", "AWS_PROFILE=ours"])
def test_what_is_for_tools_and_for_the_environment_is_taken(typed: str) -> None:
    done = make("up", typed)
    assert done.returncode == 0, done.stderr
    assert "./cluster up\n" in done.stdout


def test_a_make_above_this_one_may_pass_variables_of_its_own() -> None:
    assert make("up", "REGISTRY=ours", level="1").returncode == 0


def test_every_line_of_the_help_fits_into_a_terminal() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "make up" in shown
    assert "./cluster --help" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_no_document_and_no_message_types_a_variable_for_make() -> None:
    rooms = ("agent", "components", "operate", "preflight", "model", "sandbox")
    files = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "stacks").glob("*.yaml"),
        *(file for room in rooms for file in (ROOT / room).rglob("*.py")),
    ]
    allowed = {"up", "down", "test", "check", "bench", "lock", "help", "engine"}
    for file in files:
        text = file.read_text()
        assert not re.findall(r"make [a-z-]+ [A-Z]+=\S*", text.replace("PYTHON3=", "")), file
        for name in re.findall(r"`make ([a-z-]+)", text):
            assert name in allowed, (file, name)
