"""The stand-in for the `command` provider: real processes, and no input that it does not carry out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
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


def begun(commands: Any, tmp_path: Path, script: str) -> tuple[Any, int]:
    """A command that runs *script*, and the process of its shell."""
    written = tmp_path / "pid"
    inputs = {"create": f"echo $$ >{written}.partial; mv {written}.partial {written}; {script}"}
    request = provider_pb2.CreateRequest(urn=URN, properties=to_wire(inputs, []))
    call = commands.Create.future(request)
    assert until(written.exists)
    return call, int(written.read_text())


def is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_a_command_is_killed_with_the_engine_that_asked(commands: Any, tmp_path: Path) -> None:
    call, shell = begun(commands, tmp_path, "exec sleep 60")
    call.cancel()
    assert until(lambda: is_gone(shell))


def test_cancelling_kills_the_shell_and_not_what_holds_its_pipes(
    commands: Any, tmp_path: Path
) -> None:
    call, shell = begun(commands, tmp_path, f"(touch {tmp_path}/child; sleep 2); true")
    assert until((tmp_path / "child").exists)
    began = time.monotonic()
    commands.Cancel(empty_pb2.Empty())
    with pytest.raises(grpc.RpcError, match="signal: killed"):
        call.result()
    assert until(lambda: is_gone(shell))
    assert time.monotonic() - began > 1  # the sleep was waited for


def test_cancelling_ends_at_once_what_the_shell_has_made_way_for(
    commands: Any, tmp_path: Path
) -> None:
    call, _ = begun(commands, tmp_path, "exec sleep 30")
    began = time.monotonic()
    commands.Cancel(empty_pb2.Empty())
    with pytest.raises(grpc.RpcError, match="signal: killed"):
        call.result()
    assert time.monotonic() - began < 5


def test_a_line_that_the_real_one_would_hang_at_is_refused(commands: Any) -> None:
    line = "head -c {} /dev/zero | tr '\\0' x; echo"
    assert len(create(commands, create=line.format(65535 - 1))["stdout"]) == 65534
    with pytest.raises(grpc.RpcError, match="a line of 65536 bytes, at which the real provider"):
        create(commands, create=line.format(65535), logging="none")


def test_a_terminal_forgets_the_lines(commands: Any, shown: Shown) -> None:
    create(commands, create="echo one")
    assert shown.ephemeral == [True]


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


def test_what_a_command_prints_is_plain_even_if_it_was_given_as_a_secret(commands: Any) -> None:
    inputs = {"create": "printf secret; cat >&2", "stdin": "secret"}
    request = provider_pb2.CreateRequest(
        urn=URN, properties=to_wire(inputs, ["secret", inputs["create"]])
    )
    properties = commands.Create(request).properties
    assert (properties["stdout"], properties["stderr"]) == ("secret", "secret")
    assert set(from_wire(properties)[1]) == {"secret", inputs["create"]}


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
