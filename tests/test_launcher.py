"""`./cluster`, the launcher: whoever calls it from wherever gets the commands of its own checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

SEEN = """#!/bin/sh
pwd
printf '%s\\n' "$PYTHONPATH"
printf '<%s>\\n' "$@"
exit 7
"""
"""A Python that says how it was called."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose path has a space in it, with a Python that does nothing."""
    folder = tmp_path / "a checkout"
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(SEEN)
    python.chmod(0o755)
    (folder / "cluster").write_text((ROOT / "cluster").read_text())
    (folder / "cluster").chmod(0o755)
    (folder / "Makefile").write_text(".venv/ready:\n\t@touch made .venv/ready\n")
    return folder


def launch(
    command: Path | str, *words: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [command, *words],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


def test_words_status_and_folder_pass_through_a_link_from_elsewhere(
    checkout: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "first").symlink_to(checkout / "cluster")
    (elsewhere / "link").symlink_to("first")
    done = launch("./link", "up", "two words", "", "*", "$HOME", folder=elsewhere)
    assert done.returncode == 7
    where, path, *words = done.stdout.splitlines()
    assert Path(where) == elsewhere
    assert path == str(checkout)
    assert words == ["<-m>", "<operate>", "<up>", "<two words>", "<>", "<*>", "<$HOME>"]
    assert (checkout / "made").exists()


def test_a_python_path_of_the_user_comes_second(checkout: Path) -> None:
    done = launch("./cluster", folder=checkout, PYTHONPATH="/mine")
    assert done.stdout.splitlines()[1] == f"{checkout}:/mine"


def test_a_set_up_that_fails_ends_the_command_with_its_status(checkout: Path) -> None:
    (checkout / "Makefile").write_text(".venv/ready:\n\t@echo no Python >&2; exit 1\n")
    done = launch("./cluster", "up", folder=checkout)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no Python" in done.stderr


def test_a_tab_sets_nothing_up(checkout: Path) -> None:
    asked = {"_CLUSTER_COMPLETE": "complete_bash"}
    assert launch("./cluster", folder=checkout, **asked).returncode == 7
    (checkout / ".venv/bin/python").unlink()
    done = launch("./cluster", folder=checkout, **asked)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (checkout / "made").exists()


def test_the_real_one_passes_on_its_status_and_takes_an_archive_from_where_the_user_is(
    tmp_path: Path,
) -> None:
    link = tmp_path / "our cluster"
    link.symlink_to(ROOT / "cluster")
    done = launch(link, "nosuch", folder=tmp_path)
    assert done.returncode == 2
    done = launch(link, "publish", "prod", "my release.tar.gz", folder=tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/my release.tar.gz" in done.stderr
