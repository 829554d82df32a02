"""The host whose Docker is meant: found over real SSH, as the real provider finds it.

The real one runs `ssh ... docker system dial-stdio` and talks to the daemon there. Here the same `ssh`
asks the machine whether its user may use Docker, and which of the sandbox's containers it is.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..machines import operator_key
from .values import RefusalError

PROJECT = Path(__file__).resolve().parents[2]
SSH_SECONDS = 60
"""Longest wait for an answer."""
_QUESTION = "docker version >/dev/null && cat /etc/graphistry-sandbox/machine.json"


@dataclass(frozen=True)
class Access:
    """How a provider reaches a host."""

    address: str
    """As ssh://user@host:port."""
    options: tuple[str, ...]
    """For the program ssh."""


def problem(address: object) -> str | None:
    """What is wrong with the address of a host."""
    wanted = "the sandbox reaches a host's Docker as ssh://user@host:port alone"
    if not isinstance(address, str):
        return wanted
    try:
        found = urlsplit(address)
        right = found.scheme == "ssh" and found.hostname and found.port != 0
    except ValueError:
        right = False
    return None if right else wanted


def machine(sandbox: Path, access: Access) -> str:
    """The container of a host. Raises RefusalError in the real one's words.

    The operator's key is offered beside what the options say: the sandbox's process does not see the
    SSH agent of whoever runs Pulumi.
    """
    operator_key.private_key(sandbox)
    config = sandbox / "machines" / "ssh_config"  # instead of the user's own, for a jump host too
    config.write_text(f'IdentityFile "{sandbox}/machines/operator_key"\nBatchMode yes\n')
    found = urlsplit(access.address)
    user = ["-l", found.username] if found.username else []
    port = ["-p", str(found.port)] if found.port else []
    command = ["ssh", *user, *port, *access.options, "--", str(found.hostname)]
    try:
        done = subprocess.run(
            [command[0], "-F", str(config), *command[1:], _QUESTION],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SSH_SECONDS,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusalError(_refusal(command, str(error))) from error
    if done.returncode:
        reason = f"exit status {done.returncode}"
        help_ = (
            "make sure the URL is valid, and Docker 18.09 or later is installed on the remote host"
        )
        raise RefusalError(_refusal(command, f"{reason}, {help_}: stderr={done.stderr.strip()}"))
    return str(json.loads(done.stdout)["container"])


def _refusal(command: Sequence[str], reason: str) -> str:
    words = " ".join([*command, "docker", "system", "dial-stdio"])
    return f"Error pinging Docker server: error during connect: command [{words}] has exited with {reason}"
