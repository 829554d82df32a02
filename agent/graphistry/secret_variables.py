"""The stack file's secret variables: read in the phase secrets, put into custom.env by the phase configure.

On a host they are a file beside the cluster's secret, which the operator's computer brings.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from agent import limits
from agent.failures import Failure
from agent.machine.files import write_private
from agent.node import Node
from agent.sites import store
from agent.sites.store import STORE


def read(node: Node) -> dict[str, str]:
    """The variables; none where the specification names none. Raises Failure, which names no value."""
    wanted = node.specification.secret_env
    if wanted is None:
        forget()
        return {}
    end, pause = time.monotonic() + limits.PATIENCE, 1.0
    while True:
        why = "it is not there"
        try:
            text = node.site.read_secret_env(wanted)
            if text is not None:
                return parsed(text)
        except OSError as error:
            why = str(error)
        if time.monotonic() + pause > end:
            raise Failure(
                "SecretEnvUnavailable", f"the stack file's secretEnv cannot be read: {why}"
            )
        print(f"waiting for the stack file's secretEnv: {why}", flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


def parsed(text: str) -> dict[str, str]:
    """The variables in a text; raises Failure, which names no value."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise Failure(
            "SecretEnvUnavailable", "the stack file's secretEnv is no map of names to texts"
        )
    return {str(name): str(value) for name, value in found.items()}


def accept(text: str) -> None:
    """Keep on this host what was brought; raises Failure for what is no map of variables."""
    parsed(text)
    store.ensure()
    write_private(_file(), text)


def kept() -> str | None:
    """What was brought to this host; None where nothing was."""
    try:
        return _file().read_text()
    except FileNotFoundError:
        return None


def forget() -> None:
    """Take away what was brought to this host; the stack file has it."""
    with contextlib.suppress(FileNotFoundError):
        _file().unlink()


def _file() -> Path:
    return STORE / "secret-env.json"
