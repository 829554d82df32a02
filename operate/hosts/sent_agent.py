"""The agent of this checkout, run on a host once: it comes with the command and leaves no file.

It takes no file of the user's: root may be unable to read the user's home, and several hosts may share one.
"""

from __future__ import annotations

from shlex import quote

NO_PYTHON, NO_SUDO = "missing:python", "missing:sudo"
"""What the script prints instead of running the agent."""


def run_once(arguments: str, archive: bytes) -> str:
    """A script that runs the agent in *archive* as root; its standard input is the archive, then the agent's own."""
    as_root = (
        "umask 077; f=$(mktemp -t graphistry-cluster-agent.XXXXXX.pyz) || exit 1; "
        'trap "rm -f $f" EXIT; trap "exit 1" HUP TERM PIPE; '
        f"head -c {len(archive)} > $f || exit 1; /usr/bin/python3 $f {arguments}"
    )
    return (
        f"test -x /usr/bin/python3 || {{ echo {NO_PYTHON} >&2; exit 1; }}; "
        f"sudo -n true 2>/dev/null || {{ echo {NO_SUDO} >&2; exit 1; }}; "
        f"sudo -n sh -c {quote(as_root)}"
    )
