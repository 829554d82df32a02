"""What runs of a release: asked of Docker's engine, beside the configuration that Compose makes of its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent import engine
from agent.compose import Compose, is_well
from agent.engine import Container
from agent.failures import Failure

from .fakes import FakeMachine


def container(state: str, health: str = "", code: int = 0) -> Container:
    return Container("1", "a", state, health, code, 0, "", "")


def configurations(fake: FakeMachine) -> int:
    """How often Compose was asked."""
    return sum(line.startswith("config") for line in fake.log("graphistry"))


def test_containers_with_their_health_and_ends(fake: FakeMachine) -> None:
    (fake.root / "states.json").write_text(
        '{"a": ["running", "healthy", 0], "b": ["running", "", 0], "c": ["exited", "", 137]}'
    )
    found = {each.service: each for each in Compose(fake.release).containers()}
    assert [is_well(found[name], {}) for name in "abc"] == [True, True, False]
    assert (found["c"].state, found["c"].exit_code) == ("exited", 137)


def test_a_command_in_a_container_has_its_output(fake: FakeMachine) -> None:
    (fake.root / "container-gpus").write_text("GPU 0: a\nGPU 1: b\n")
    done = engine.execute("a", ["nvidia-smi", "-L"], seconds=5)
    assert (done.status, done.output) == (0, "GPU 0: a\nGPU 1: b\n")


def test_an_engine_that_does_not_answer_is_told(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.engine.SOCKET", str(fake.root / "none"))
    with pytest.raises(Failure, match=r"does not answer at .*none") as caught:
        Compose(fake.release).containers()
    assert caught.value.code == "DockerUnavailable"


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", ".env", "data/config/custom.env", "compose/leader.yml"]
)
def test_the_configuration_is_read_once_a_change(fake: FakeMachine, name: str) -> None:
    first = Compose(fake.release).services()
    assert Compose(fake.release).services() == first
    assert configurations(fake) == 1
    file: Path = fake.release / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("FORGE_NUM_WORKERS=7\n")
    Compose(fake.release).services()
    assert configurations(fake) == 2
    os.utime(file, (1, 1))
    Compose(fake.release).services()
    assert configurations(fake) == 3


def test_the_configuration_is_read_again_after_a_while(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.compose.AGAIN_SECONDS", 0)
    Compose(fake.release).services()
    Compose(fake.release).services()
    assert configurations(fake) == 2


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, True),
        ({"restart": "on-failure:3"}, True),
        ({"restart": "unless-stopped"}, False),
        ({"restart": "no", "healthcheck": {"test": ["CMD", "true"]}}, False),
    ],
)
def test_only_a_job_may_end(service: dict[str, Any], expected: bool) -> None:
    """What runs for ever ends with status 0 too when somebody stops it."""
    assert is_well(container("exited"), service) is expected
    assert not is_well(container("exited", code=1), service)
