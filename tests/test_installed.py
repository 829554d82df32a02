"""What `pip install -e .` reads in pyproject.toml: the command `graphistry-cluster`, and where its packages are."""

from __future__ import annotations

import importlib
import tomllib
from importlib.metadata import EntryPoint

from packaging.specifiers import SpecifierSet
from setuptools import find_packages

from tests.harness import ROOT
from tests.test_requirements import PROGRAM


def pyproject() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_command_is_that_of_the_launcher() -> None:
    (name, value), *more = pyproject()["project"]["scripts"].items()  # type: ignore[attr-defined]
    main = EntryPoint(name=name, value=value, group="console_scripts").load()
    assert more == []
    commands = importlib.import_module("operate.__main__")
    assert main is commands.main
    assert name == commands.INSTALLED


def test_what_it_needs_is_in_the_requirements() -> None:
    project, tool = pyproject()["project"], pyproject()["tool"]
    assert project["dynamic"] == ["dependencies"]
    dynamic = tool["setuptools"]["dynamic"]  # type: ignore[index]
    assert dynamic == {"dependencies": {"file": ["requirements.txt"]}}
    versions = SpecifierSet(str(project["requires-python"]))
    assert "3.11" in versions
    assert "3.10" not in versions


def test_every_room_of_the_program_is_among_its_packages() -> None:
    find = pyproject()["tool"]["setuptools"]["packages"]["find"]  # type: ignore[index]
    packages = find_packages(str(ROOT), include=find["include"])
    assert {each.partition(".")[0] for each in packages} == {*PROGRAM, "agent"}
    for room in PROGRAM:
        folders = {each.parent for each in (ROOT / room).rglob("__init__.py")}
        there = {".".join(each.relative_to(ROOT).parts) for each in folders}
        assert there <= set(packages)
