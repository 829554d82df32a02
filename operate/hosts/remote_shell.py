"""A command on a host, whatever login shell its user has, and what it answers, whatever that shell prints besides.

sshd hands a command to the login shell of the user. bash reads ~/.bashrc before it, fish and csh have a language of
their own, and a restricted shell takes no path for a command. All of them run ``sh -c '...'``.
"""

from __future__ import annotations

from shlex import quote

BEGIN, END = "graphistry-cluster:answer", "graphistry-cluster:end"
"""Lines around what a command prints, on both of its outputs."""

_NOT_QUOTED_ALIKE = {
    "\n": "csh ends a quoted word there",
    "!": "csh puts an earlier command there, also between quotes",
    "\\": "fish takes it for an escape between single quotes",
}


def under_sh(script: str) -> str:
    """*script* for sh as one command of any login shell, in a folder that root can read too.

    Raises ValueError for a character that the shells do not quote alike.
    """
    for character, why in _NOT_QUOTED_ALIKE.items():
        if character in script:
            raise ValueError(f"{character!r} in a command for a host: {why}: {script}")
    # The line before may have no end.
    begun = f"cd /; echo; echo {BEGIN}; echo >&2; echo {BEGIN} >&2"
    ended = f"status=$?; echo {END}; echo {END} >&2; exit $status"
    return f"sh -c {quote(f'{begun}; ({script}); {ended}')}"


def noise(output: str) -> str:
    """What the login shell itself printed before the script of :func:`under_sh`."""
    return f"\n{output}".partition(f"\n{BEGIN}\n")[0].strip()


def answer(output: str) -> str | None:
    """What the script of :func:`under_sh` printed in *output*; None if the login shell did not run it."""
    # `set -x` in a user's own file prints the words too, within longer lines.
    _, begun, rest = f"\n{output}".partition(f"\n{BEGIN}\n")
    if not begun:
        return None
    text, ended, _ = rest.rpartition(END)
    return text if ended else rest
