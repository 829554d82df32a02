"""The agent's socket against a Socket.IO that knows nothing of it or of the stand-in."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.graphistry import visualization, web
from tests.harness import ROOT

PYTHON = ROOT / ".build" / "clients" / "bin" / "python"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert PYTHON.exists(), "Socket.IO is not there; `make .build/clients/ready` installs it"
    program = Path(__file__).with_name("socketio_server.py")
    with subprocess.Popen(
        [PYTHON, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:  # which tells of every connection that its client ends
        assert process.stdout
        monkeypatch.setattr(web, "ADDRESS", f"http://127.0.0.1:{process.stdout.readline().strip()}")
        monkeypatch.setattr(visualization, "SECONDS", 20)
        yield
        process.terminate()


@pytest.mark.usefixtures("server")
def test_a_session_of_socketio_is_opened() -> None:
    with visualization.opened("d1"):
        pass
