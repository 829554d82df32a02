"""The Makefile refuses what it would ignore."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.harness import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


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


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("STAK=dev", "STAK: no command knows this variable; is STACK meant?"),
        ("stack=dev", "stack: no command knows this variable; is STACK meant?"),
        ("NODES=a b", "NODES: no command knows this variable; is NODE meant?"),
        ("FORCE=1", "FORCE: no command knows this variable. Known are STACK TARGET"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest(typed: str, told: str) -> None:
    done = make("show", typed)
    assert done.returncode == 2
    assert "operate show" not in done.stdout
    assert told in done.stderr


@pytest.mark.parametrize(
    "typed", ["STACK=dev", "NAME=a b;c=d", "SHELL=/bin/sh", "AWS_PROFILE=ours"]
)
def test_a_known_variable_and_one_for_the_environment_are_taken(typed: str) -> None:
    done = make("show", typed)
    assert done.returncode == 0, done.stderr
    assert "operate show" in done.stdout


def test_a_make_above_this_one_may_pass_variables_of_its_own() -> None:
    assert make("show", "REGISTRY=ours", level="1").returncode == 0


def test_every_line_of_the_help_fits_into_a_terminal() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "make up" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_every_variable_that_a_document_or_hint_types_is_known() -> None:
    """And every one that a recipe reads as it was typed."""
    known = set(re.findall(r"^VARIABLES := (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    typed = set(re.findall(r"call typed,([A-Z]+)\)", MAKEFILE))
    files = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(
            file
            for room in ("operate", "preflight", "model")
            for file in (ROOT / room).rglob("*.py")
        ),
    ]
    for file in files:
        for words in re.findall(r"make [a-z-]+((?: [A-Z_0-9]+=\S*)+)", file.read_text()):
            typed |= set(re.findall(r"([A-Z_0-9]+)=", words))
    assert len(typed) > 8
    assert typed - known == set()
