"""The SSH agent of a sandbox: it holds the operator's key of the sandbox, and none that the user's own agent has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .commands import MachineError
from .leftovers import PrivateDocker
from .operator_key import key_file

HOLD = 'ssh-add -q "$1" && echo held && cat; kill "$SSH_AGENT_PID"'
"""Ends with the pipe that its starter holds, and ends the agent, which would look for it only every ten seconds."""


def start(sandbox: Path, place: PrivateDocker) -> str:
    """The socket of an agent that ends with this process. Raises MachineError."""
    path = place.sockets / "ssh-agent.sock"
    key = key_file(sandbox)
    command = ["ssh-agent", "-a", str(path), "sh", "-c", HOLD, "hold", str(key)]
    try:
        agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise MachineError(f"ssh-agent is needed, of the package openssh-client: {error}") from None
    if agent.stdout is None or agent.stdout.readline() != "held\n":
        raise MachineError(f"ssh-agent does not take {key}; the line before says why")
    return str(path)
