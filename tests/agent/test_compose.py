"""What runs of a release: asked of Docker's engine, beside the configuration that Compose makes of its files."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import threading
import time
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import docker
import pytest

from agent.containers import engine
from agent.containers.compose import Compose, is_well, replicas, running_services
from agent.containers.engine import Container
from agent.failures import Failure
from agent.machine.commands import Completed
from agent.phases.start import described, unwell
from agent.phases.verify import Memory
from agent.watch import Pace

from . import engine_judge
from .fakes import FakeMachine


def container(
    state: str, health: str = "", code: int = 0, *, started: float = 0, restarts: int = 0
) -> Container:
    since = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(started))
    return Container("1", "a", state, health, code, 0, since, restarts, "")


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


def test_dockers_own_client_sees_in_the_stand_in_what_the_agent_sees(fake: FakeMachine) -> None:
    (fake.root / "states.json").write_text(
        '{"a": ["running", "healthy", 0], "b": ["running", "", 0], "c": ["exited", "", 137]}'
    )
    (fake.root / "events").write_text('{"Action": "die"}\n{"Action": "start"}\n')
    command = ["nvidia-smi", "-L"]
    with closing(docker.DockerClient(f"unix://{engine.SOCKET}", version="1.44")) as client:
        own = [engine_judge.agents(asdict(each)) for each in engine.containers("release")]
        assert own == engine_judge.containers(client, "release")
        status, (output, errors) = client.containers.get("a").exec_run(command, demux=True)
        assert engine.execute("a", command, 5) == Completed(status, output.decode(), errors or "")
        assert len(list(engine.events())) == len(list(client.events(decode=True))) == 2


def test_a_command_in_a_container_that_hangs_ends_with_its_children(fake: FakeMachine) -> None:
    (fake.root / "exec-hangs").touch()
    done = engine.execute("a", ["nvidia-smi", "-L"], seconds=0.5)
    assert (done.status, done.errors) == (124, "nvidia-smi did not end within 0.5 s")
    ended = fake.root / "exec-ended"  # once nobody holds its output any more
    deadline = time.monotonic() + 10
    while not ended.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended.read_text() == str(-signal.SIGKILL)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (None, 0),
        ({"Test": ["NONE"]}, 0),
        ({"Test": ["CMD", "true"]}, 90),
        ({"Test": ["CMD", "true"], "Interval": 10e9, "Retries": 6, "StartPeriod": 240e9}, 300),
    ],
)
def test_the_time_that_a_health_check_allows(
    fake: FakeMachine, check: dict[str, Any] | None, expected: float
) -> None:
    (fake.root / "states.json").write_text('{"a": ["running", "starting", 0]}')
    (fake.root / "health-check.json").write_text(json.dumps(check))
    (found,) = Compose(fake.release).containers()
    assert found.allowed == expected


def test_an_engine_that_does_not_answer_is_told(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.containers.engine.SOCKET", str(fake.root / "none"))
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
    monkeypatch.setattr("agent.containers.compose.AGAIN_SECONDS", 0)
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
        ({"restart": "no", "healthcheck": {"disable": True}}, True),
        ({"restart": "no", "healthcheck": {"test": ["NONE"]}}, True),
        ({"restart": "unless-stopped", "healthcheck": {"disable": True}}, False),
        ({"deploy": {"restart_policy": {"condition": "any"}}}, False),
    ],
)
def test_only_a_job_may_end(service: dict[str, Any], expected: bool) -> None:
    """What runs for ever ends with status 0 too when somebody stops it."""
    assert is_well(container("exited"), service) is expected
    assert not is_well(container("exited", code=1), service)


def test_a_job_that_others_wait_for_may_have_inherited_a_health_check() -> None:
    """By `extends`, or from the fields that all services have."""
    health = {"test": ["CMD", "true"]}
    merged = {
        "migrate": {"restart": "no", "healthcheck": health},
        "nexus": {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}},
        "once": {"restart": "no", "healthcheck": health},
        "waits": {"depends_on": {"once": {"condition": "service_started"}}},
    }
    found = running_services(merged)
    assert is_well(container("exited"), found["migrate"])
    assert not is_well(container("exited", code=1), found["migrate"])
    assert not is_well(container("exited"), found["once"])


def test_a_service_of_no_replicas_is_none() -> None:
    merged: dict[str, Any] = {
        "none": {"deploy": {"replicas": 0}},
        "scaled": {"scale": 0},
        "two": {"deploy": {"replicas": 2}},
        "one": None,
    }
    assert {name: replicas(each) for name, each in running_services(merged).items()} == {
        "two": 2,
        "one": 1,
    }


def test_every_container_of_a_service_counts() -> None:
    services = {"a": {"deploy": {"replicas": 3}}}
    well, ill = container("running", "healthy"), container("running", "unhealthy")
    assert unwell(services, [well, well, well]) == []
    assert unwell(services, [well, well]) == ["a"]
    assert unwell(services, [well, ill, well]) == ["a"]
    assert unwell(services, [well, well, well, ill]) == ["a"]
    assert described(["a"], [well, ill], services) == "a (2 of 3: running unhealthy, absent)"
    assert described(["a"], [ill], {"a": {}}) == "a (running unhealthy)"
    assert described(["a"], [], {"a": {}}) == "a (absent)"


def test_what_ends_again_and_again_does_not_run_whenever_it_is_looked_at() -> None:
    """Events bring the look to the moment after each start."""
    now = time.time()
    assert is_well(container("running", started=now), {})
    assert not is_well(container("running", started=now, restarts=1), {})
    assert is_well(container("running", started=now - engine.STEADY_SECONDS, restarts=7), {})
    assert is_well(container("running", "healthy", started=now, restarts=1), {})


@pytest.mark.parametrize("cut", [b"", b"4\r\n{", b"4", b"4\r\n{}\n\n\r\n400\r\n{}\n"])
def test_events_that_are_cut_end_and_raise_nothing_else(
    monkeypatch: pytest.MonkeyPatch, cut: bytes
) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(
        "agent.containers.engine._Connection.connect",
        lambda connection: setattr(connection, "sock", ours),
    )
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"

    def serve() -> None:
        with theirs:
            theirs.recv(4096)
            theirs.sendall(head + cut)

    threading.Thread(target=serve).start()
    events, seen = engine.events(), 0
    with suppress(engine.EngineError):
        for _ in events:
            seen += 1
    assert seen >= 1


def test_a_container_that_has_gone_is_an_error_of_the_engine(fake: FakeMachine) -> None:
    (fake.root / "exec-gone").touch()
    with pytest.raises(engine.EngineError, match="gone"):
        engine.execute("a", ["true"], seconds=5)


def test_looks_follow_events_but_not_at_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("agent.watch.time.monotonic", lambda: clock)
    monkeypatch.setattr("agent.limits.WATCH", 10.0)
    pace, looks = Pace(), []
    pace.begin()
    while clock < 1100:
        clock += 0.25
        pace.hurry()
        if clock >= pace.next:
            looks.append(clock)
            began, clock = clock, clock + 1.5  # a slow look
            pace.looked(began)
    gaps = [later - earlier - 1.5 for earlier, later in pairwise(looks)]
    assert looks[0] == 1001
    assert gaps[:4] == [2, 4, 8, 10]
    assert len(looks) < 20
    clock += 100
    pace.looked(clock)
    clock += 0.25
    pace.hurry()
    assert pace.next - clock < 1


def test_a_driver_that_was_well_is_asked_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.limits.GPUS", 60.0)
    memory, asked = Memory(), []

    def ask() -> str:
        asked.append(1)
        if len(asked) == 3:
            raise Failure("GpuUnavailable", "gone")
        return f"{len(asked)}"

    assert [memory.paced("gpus", "one", ask) for _ in range(3)] == ["1"] * 3
    assert memory.paced("gpus", "another container", ask) == "2"
    monkeypatch.setattr("agent.limits.GPUS", 0.0)
    with pytest.raises(Failure):
        memory.paced("gpus", "another container", ask)
    monkeypatch.setattr("agent.limits.GPUS", 60.0)
    assert memory.paced("gpus", "another container", ask) == "4"


@pytest.mark.parametrize("frames", [[(1, 64 << 20)], [(1, 1 << 20), (2, 1 << 20), (1, 10)]])
def test_a_command_that_writes_without_end_takes_no_memory(
    monkeypatch: pytest.MonkeyPatch, frames: list[tuple[int, int]]
) -> None:
    class Answer(io.BytesIO):
        status = 200

    written = b"".join(struct.pack("!BxxxI", number, size) + b"x" * size for number, size in frames)
    monkeypatch.setattr(engine._Engine, "_send", lambda *_: Answer(written))
    found = engine._Engine().stream("/exec/x/start", {}, 30)
    assert [number for number, _ in found] == [number for number, _ in frames]
    assert sum(len(part) for _, part in found) == engine.MOST_BYTES
