"""An SSH agent that does not answer is forgotten, and one that does is kept."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate.stack import ssh_agent
from operate.stack.ssh_agent import VARIABLE, without_dead_agent


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "agent"))
    monkeypatch.setattr(ssh_agent, "SECONDS", 0.2)
    return tmp_path / "agent"


@pytest.fixture
def agent(path: Path) -> Iterator[None]:
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 10
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.02)
        yield
        process.terminate()


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


@pytest.mark.usefixtures("agent")
def test_an_agent_that_answers_is_kept(path: Path) -> None:
    assert without_dead_agent() is None
    assert os.environ[VARIABLE] == str(path)


@pytest.mark.parametrize("kind", ["gone", "dead", "silent"])
def test_an_agent_that_does_not_answer_is_forgotten(path: Path, kind: str) -> None:
    server = None if kind == "gone" else listening(path)
    if kind == "dead" and server:
        server.close()
    assert without_dead_agent() == str(path)
    assert VARIABLE not in os.environ
    if server:
        server.close()


def test_without_an_agent_there_is_nothing_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert without_dead_agent() is None
