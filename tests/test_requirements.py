"""What is installed: by version and hash, the same in every lock, and for who deploys no more than that takes."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness import ROOT

LOCKS = (
    "requirements",
    "requirements-development",
    "requirements-checkov",
    "requirements-clients",
)

PROGRAM = ("components", "model", "operate", "preflight", "sandbox")
"""What `./cluster up` runs on this computer, the embedded sandbox among it."""


@cache
def locked(name: str) -> dict[str, dict[str, list[str]]]:
    """Package to its versions, each with its hashes."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / f"{name}.lock").read_text().strip()):
        pin = Requirement(entry.split("\\", 1)[0])
        (version,) = pin.specifier
        assert version.operator == "==", entry
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
        found.setdefault(canonicalize_name(pin.name), {})[version.version] = hashes
    return found


def ranges(name: str) -> list[Requirement]:
    lines = (ROOT / f"{name}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_locked_by_hashes(name: str) -> None:
    for package, versions in locked(name).items():
        assert all(versions.values()), package


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_says_where_packages_come_from(name: str) -> None:
    assert "://" not in (ROOT / f"{name}.lock").read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_locked_is_in_the_range_that_is_asked_for(name: str) -> None:
    for wanted in ranges(name):
        versions = locked(name)[canonicalize_name(wanted.name)]
        assert all(wanted.specifier.contains(each) for each in versions), wanted


def test_tests_run_with_what_is_deployed_with() -> None:
    developed = locked("requirements-development")
    for package, versions in locked("requirements").items():
        assert developed[package] == versions, package


def test_who_deploys_needs_nothing_of_the_development_packages() -> None:
    distributions = packages_distributions()
    only_developed = locked("requirements-development").keys() - locked("requirements").keys()
    for file in [ROOT / "__main__.py", *(each for room in PROGRAM for each in files(room))]:
        for module in imported(file) & distributions.keys():
            names = {canonicalize_name(each) for each in distributions[module]}
            assert not names <= only_developed, f"{file} imports {module}"


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Top-level modules that a file imports anywhere; not this project's, not Python's own."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def test_make_installs_only_what_is_locked() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes" in makefile
    for line in makefile.splitlines():
        assert "pip install" not in line or "--require-hashes" in line, line
