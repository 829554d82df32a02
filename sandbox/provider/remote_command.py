"""`command:remote:Command`: a real process on another machine, over SSH."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import paramiko

from .call import Call, is_too_long, never_ends, shown_outputs
from .protocol import Problem
from .ssh import connected
from .values import Properties, RefusalError

MODELLED = {
    "addPreviousOutputInEnv",
    "connection",
    "create",
    "delete",
    "logging",
    "stdin",
    "triggers",
    "update",
}
"""Inputs that are carried out; any other is refused."""


def problems(inputs: Properties) -> Iterator[Problem]:
    """What is wrong with the inputs beyond their names and types."""
    if inputs.get("addPreviousOutputInEnv", True) is not False:
        yield (
            "addPreviousOutputInEnv",
            "the sandbox models false alone; else earlier output goes to the machine, where sshd"
            " refuses or records it",
        )


def run(command: str, inputs: Properties, call: Call) -> Properties:
    """Run a command to its end; what it printed. Its connection ends with the engine that asked.

    Cancelling ends a connection that is still being made, and never a command that runs.
    """
    shown, printed = shown_outputs(inputs.get("logging")), {"stdout": "", "stderr": ""}
    both: list[str] = []
    too_long: list[int] = []

    def follow(name: str, stream: Iterator[bytes | str]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
            printed[name] += line
            both.append(line)
            if is_too_long(line):
                too_long.append(len(line))
            elif name in shown:
                call.show(line.rstrip("\n"))

    with connected(inputs["connection"], call) as transport:
        try:
            channel = transport.open_session()
            channel.exec_command(command)
            streams = {
                "stdout": channel.makefile("rb"),
                "stderr": channel.makefile_stderr("rb"),
            }
            readers = [
                threading.Thread(target=follow, args=(name, iter(stream)))
                for name, stream in streams.items()
            ]
            for reader in readers:
                reader.start()
            _feed(channel, inputs.get("stdin", ""))
            status = channel.recv_exit_status()
            for reader in readers:
                reader.join()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise RefusalError(f"{error}: {_running(command, both)}") from error
    if too_long:
        raise RefusalError(never_ends(max(too_long), command))
    if status == -1:
        reason = "wait: remote command exited without exit status or exit signal"
        raise RefusalError(f"{reason}: {_running(command, both)}")
    if status:
        raise RefusalError(f"Process exited with status {status}: {_running(command, both)}")
    return {name: text.removesuffix("\n") for name, text in printed.items()}


def _running(command: str, both: list[str]) -> str:
    return f"running {json.dumps(command)}:\n{''.join(both)}"


def _feed(channel: paramiko.Channel, text: str) -> None:
    try:
        channel.sendall(text.encode())
        channel.shutdown_write()
    except OSError:  # a command may end without reading
        return
