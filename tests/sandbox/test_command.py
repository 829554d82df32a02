"""The stand-in for the `command` provider: real processes, and no input that it does not carry out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
)

from sandbox.provider import command
from sandbox.provider.values import UNKNOWN, from_wire, to_wire

URN = f"urn:pulumi:test::graphistry-cluster::{command.COMMAND}::ready"


class Engine(engine_pb2_grpc.EngineServicer):
    """The part of Pulumi's engine that shows lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def Log(self, request: engine_pb2.LogRequest, context: Any) -> Any:  # noqa: N802 the protocol's name
        self.lines.append(request.message)
        return empty_pb2.Empty()


@pytest.fixture
def engine() -> Iterator[tuple[Engine, str]]:
    server = grpc.server(ThreadPoolExecutor(4))
    shown = Engine()
    engine_pb2_grpc.add_EngineServicer_to_server(shown, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield shown, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def provider(engine: tuple[Engine, str]) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    server, port = command.serve({"OF_THE_SANDBOX": "seen"})
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Attach(plugin_pb2.PluginAttach(address=engine[1]))
        yield stub
    server.stop(None)


def create(provider: Any, **inputs: Any) -> dict[str, Any]:
    answer = provider.Create(
        provider_pb2.CreateRequest(urn=URN, properties=to_wire(inputs, [])), timeout=20
    )
    return from_wire(answer.properties)[0]


def test_a_command_runs_and_every_line_is_shown(provider: Any, engine: tuple[Engine, str]) -> None:
    made = create(
        provider,
        create="echo one; echo $OF_THE_SANDBOX; echo $GIVEN >&2",
        environment={"GIVEN": "given"},
    )
    assert made["stdout"] == "one\nseen"
    assert made["stderr"] == "given"
    assert sorted(engine[0].lines) == ["given", "one", "seen"]


def test_a_line_is_shown_while_the_command_still_runs(
    provider: Any, engine: tuple[Engine, str]
) -> None:
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(create, provider, create="echo first; sleep 2; echo second")
        end = time.monotonic() + 10
        while not engine[0].lines and time.monotonic() < end:
            time.sleep(0.05)
        assert engine[0].lines == ["first"]
        assert not running.done()
        assert running.result()["stdout"] == "first\nsecond"


def test_a_failed_command_fails_with_what_it_said(provider: Any) -> None:
    with pytest.raises(grpc.RpcError, match="exit status 3") as refused:
        create(provider, create="echo reason >&2; exit 3")
    assert "reason" in str(refused.value.details())


def test_a_command_ends_with_the_engine_that_asked(provider: Any, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    script = f"trap 'touch {ended}; exit' TERM; touch {tmp_path}/began; sleep 60 & wait"
    request = provider_pb2.CreateRequest(urn=URN, properties=to_wire({"create": script}, []))
    call = provider.Create.future(request)
    end = time.monotonic() + 10
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.05)
    call.cancel()
    while not ended.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert ended.exists()


def test_a_preview_runs_nothing(provider: Any, tmp_path: Path) -> None:
    inputs = {"create": f"touch {tmp_path}/ran"}
    answer = provider.Create(
        provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_wire(inputs, []))
    )
    assert from_wire(answer.properties)[0]["stdout"] == UNKNOWN
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "create"),
        ({"create": "true", "stdin": "secret"}, "stdin"),
        ({"create": "true", "unknown": 1}, "unknown"),
        ({"create": 1}, "create"),
        ({"create": "true", "environment": "A=1"}, "environment"),
    ],
)
def test_what_is_not_carried_out_is_refused(
    provider: Any, inputs: dict[str, Any], problem: str
) -> None:
    answer = provider.Check(provider_pb2.CheckRequest(urn=URN, news=to_wire(inputs, [])))
    assert [each.property for each in answer.failures] == [problem]


def test_another_type_is_refused(provider: Any) -> None:
    remote = URN.replace("command:local:Command", "command:remote:Command")
    with pytest.raises(grpc.RpcError, match="command:remote:Command"):
        provider.Check(provider_pb2.CheckRequest(urn=remote))


@pytest.mark.parametrize(
    ("new", "changed", "replaced"),
    [
        ({"create": "true"}, [], []),
        ({"create": "false"}, ["create"], []),
        ({"create": "true", "triggers": ["2"]}, ["triggers"], ["triggers"]),
    ],
)
def test_a_trigger_replaces_and_the_rest_runs_again(
    provider: Any, new: dict[str, Any], changed: list[str], replaced: list[str]
) -> None:
    answer = provider.Diff(
        provider_pb2.DiffRequest(
            urn=URN, old_inputs=to_wire({"create": "true"}, []), news=to_wire(new, [])
        )
    )
    assert list(answer.diffs) == changed
    assert list(answer.replaces) == replaced
