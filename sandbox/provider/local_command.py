"""`command:local:Command`: a real process on this computer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .call import Call, shown_outputs
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


def run(
    command: str,
    inputs: Properties,
    previous: Properties,
    call: Call,
    environment: Mapping[str, str],
) -> Properties:
    """Run a command to its end; what it printed. It is ended when the engine that asked is gone.

    Sees `environment` beside what its inputs say, and what its predecessor, `previous`, printed.
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
    call.at_end(lambda: _end(process))
    shown, printed = shown_outputs(inputs.get("logging")), {"stdout": "", "stderr": ""}

    def follow(name: str, stream: IO[str] | None) -> None:
        for line in stream or ():
            printed[name] += line
            if name in shown:
                call.show(line.rstrip("\n"))

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    readers = [threading.Thread(target=follow, args=each) for each in streams.items()]
    for reader in readers:
        reader.start()
    _feed(process, inputs.get("stdin", ""))
    status = process.wait()
    for reader in readers:
        reader.join()
    if status:
        said = printed["stderr"] or printed["stdout"]
        raise RefusalError(f'exit status {status}: running "{command}":\n{said}')
    return {name: text.removesuffix("\n") for name, text in printed.items()}


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin  # noqa: S101, a pipe was asked for
    try:
        with process.stdin as stream:
            stream.write(text)
    except BrokenPipeError:  # a command may end without reading
        return


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and all it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
