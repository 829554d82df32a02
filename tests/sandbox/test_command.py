"""The stand-in for the `command` provider: real processes, and no input that it does not carry out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from sandbox.provider import command
from sandbox.provider.values import UNKNOWN, from_wire, to_wire
from tests.sandbox.command_engine import Shown

URN = f"urn:pulumi:test::graphistry-cluster::{command.COMMAND}::ready"


def create(commands: Any, **inputs: Any) -> dict[str, Any]:
    answer = commands.Create(
        provider_pb2.CreateRequest(urn=URN, properties=to_wire(inputs, [])), timeout=20
    )
    return from_wire(answer.properties)[0]


def test_a_command_runs_and_every_line_is_shown(commands: Any, shown: Shown) -> None:
    made = create(
        commands,
        create="echo one; echo $OF_THE_SANDBOX; echo $GIVEN >&2",
        environment={"GIVEN": "given"},
    )
    assert made["stdout"] == "one\nseen"
    assert made["stderr"] == "given"
    assert sorted(shown.lines) == ["given", "one", "seen"]


def test_a_line_is_shown_while_the_command_still_runs(commands: Any, shown: Shown) -> None:
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(create, commands, create="echo first; sleep 2; echo second")
        end = time.monotonic() + 10
        while not shown.lines and time.monotonic() < end:
            time.sleep(0.05)
        assert shown.lines == ["first"]
        assert not running.done()
        assert running.result()["stdout"] == "first\nsecond"


def test_a_failed_command_fails_with_what_it_said(commands: Any) -> None:
    with pytest.raises(grpc.RpcError, match="exit status 3") as refused:
        create(commands, create="echo reason >&2; exit 3")
    assert "reason" in str(refused.value.details())


def test_a_command_ends_with_the_engine_that_asked(commands: Any, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    script = f"trap 'touch {ended}; exit' TERM; touch {tmp_path}/began; sleep 60 & wait"
    request = provider_pb2.CreateRequest(urn=URN, properties=to_wire({"create": script}, []))
    call = commands.Create.future(request)
    end = time.monotonic() + 10
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.05)
    call.cancel()
    while not ended.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert ended.exists()


def test_a_preview_runs_nothing(commands: Any, tmp_path: Path) -> None:
    inputs = {"create": f"touch {tmp_path}/ran"}
    answer = commands.Create(
        provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_wire(inputs, []))
    )
    assert from_wire(answer.properties)[0]["stdout"] == UNKNOWN
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "create"),
        ({"create": "true", "interpreter": ["sh"]}, "interpreter"),
        ({"create": "true", "logging": "all"}, "logging"),
        ({"create": "true", "unknown": 1}, "unknown"),
        ({"create": 1}, "create"),
        ({"create": "true", "environment": "A=1"}, "environment"),
    ],
)
def test_what_is_not_carried_out_is_refused(
    commands: Any, inputs: dict[str, Any], problem: str
) -> None:
    answer = commands.Check(provider_pb2.CheckRequest(urn=URN, news=to_wire(inputs, [])))
    assert [each.property for each in answer.failures] == [problem]


def test_what_is_secret_comes_by_standard_input(commands: Any, shown: Shown) -> None:
    made = create(commands, create="cat; echo said >&2", stdin="secret", logging="stderr")
    assert made["stdout"] == "secret"
    assert shown.lines == ["said"]


def test_a_command_that_reads_nothing_ends_all_the_same(commands: Any) -> None:
    assert (
        create(commands, create="exec 0<&-; echo done", stdin="x" * 1_000_000)["stdout"] == "done"
    )


def test_an_update_sees_what_was_printed_before_and_an_end_runs_its_own(
    commands: Any, tmp_path: Path
) -> None:
    inputs = {
        "create": "echo one",
        "update": "echo $PULUMI_COMMAND_STDOUT and two",
        "delete": f"touch {tmp_path}/ended",
    }
    made = create(commands, **inputs)
    answer = commands.Update(
        provider_pb2.UpdateRequest(urn=URN, olds=to_wire(made, []), news=to_wire(inputs, []))
    )
    assert from_wire(answer.properties)[0]["stdout"] == "one and two"
    commands.Delete(provider_pb2.DeleteRequest(urn=URN, properties=answer.properties))
    assert (tmp_path / "ended").exists()


def test_what_a_secret_command_prints_is_secret(commands: Any) -> None:
    request = provider_pb2.CreateRequest(
        urn=URN, properties=to_wire({"create": "echo x"}, ["echo x"])
    )
    assert "x" in from_wire(commands.Create(request).properties)[1]


def test_another_type_is_refused(commands: Any) -> None:
    remote = URN.replace("command:local:Command", "command:remote:CopyFile")
    with pytest.raises(grpc.RpcError, match="command:remote:CopyFile"):
        commands.Check(provider_pb2.CheckRequest(urn=remote))


@pytest.mark.parametrize(
    ("new", "changed", "replaced"),
    [
        ({"create": "true"}, [], []),
        ({"create": "false"}, ["create"], []),
        ({"create": "true", "triggers": ["2"]}, ["triggers"], ["triggers"]),
    ],
)
def test_a_trigger_replaces_and_the_rest_runs_again(
    commands: Any, new: dict[str, Any], changed: list[str], replaced: list[str]
) -> None:
    answer = commands.Diff(
        provider_pb2.DiffRequest(
            urn=URN, old_inputs=to_wire({"create": "true"}, []), news=to_wire(new, [])
        )
    )
    assert list(answer.diffs) == changed
    assert list(answer.replaces) == replaced
