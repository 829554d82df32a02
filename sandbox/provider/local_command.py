"""`command:local:Command`: a real process on this computer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .call import Call, is_too_long, never_ends, shown_outputs
from .values import Properties, RefusalError

PROJECT = Path(__file__).resolve().parents[2]
MODELLED = {
    "addPreviousOutputInEnv",
    "create",
    "delete",
    "dir",
    "environment",
    "logging",
    "stdin",
    "triggers",
    "update",
}
"""Inputs that are carried out; any other is refused."""
SIGNALS: dict[int, str] = {
    signal.SIGKILL: "killed",
    signal.SIGTERM: "terminated",
    signal.SIGINT: "interrupt",
}
"""As Go names them."""


def run(
    command: str,
    inputs: Properties,
    previous: Properties,
    call: Call,
    environment: Mapping[str, str],
) -> Properties:
    """Run a command to its end; what it printed.

    Sees `environment` besides what its inputs say, and what its predecessor, `previous`, printed. If the engine cancels
    or is gone, only the shell is killed, as by Go's exec.CommandContext: what the shell has started keeps the pipes,
    which are read to their end, and the command has failed whatever became of it.
    """
    handed_on = {
        f"PULUMI_COMMAND_{name.upper()}": previous[name]
        for name in ("stdout", "stderr")
        if previous.get(name) and inputs.get("addPreviousOutputInEnv", True)
    }
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=PROJECT / inputs.get("dir", "."),
        env={**os.environ, **environment, **handed_on, **inputs.get("environment", {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    call.at_cancel(process.kill)
    shown, printed = shown_outputs(inputs.get("logging")), {"stdout": "", "stderr": ""}
    too_long: list[int] = []

    def follow(name: str, stream: IO[str] | None) -> None:
        for line in stream or ():
            printed[name] += line
            if is_too_long(line):
                too_long.append(len(line))
            elif name in shown:
                call.show(line.rstrip("\n"))

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    readers = [threading.Thread(target=follow, args=each) for each in streams.items()]
    for reader in readers:
        reader.start()
    _feed(process, inputs.get("stdin", ""))
    status = process.wait()
    for reader in readers:
        reader.join()
    if too_long:
        raise RefusalError(never_ends(max(too_long), command))
    if status:
        said = printed["stderr"] or printed["stdout"]
        ended = f"signal: {SIGNALS.get(-status, str(-status))}"
        reason = ended if status < 0 else f"exit status {status}"
        raise RefusalError(f'{reason}: running "{command}":\n{said}')
    return {name: text.removesuffix("\n") for name, text in printed.items()}


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin  # noqa: S101, a pipe was asked for
    try:
        with process.stdin as stream:
            stream.write(text)
    except BrokenPipeError:  # a command may end without reading
        return
