"""What mount(8) and its helpers say when they do not mount a shared folder, as a failure with its own code."""

from __future__ import annotations

from typing import Sequence

from agent.failures import Failure

WORDS = (
    ("access denied by server", "SharedFolderDenied"),
    ("Operation not permitted", "SharedFolderDenied"),
    ("reason given by server: No such file", "SharedFolderNoSuchExport"),
    ("Failed to resolve", "SharedFolderNameUnknown"),
    ("Name or service not known", "SharedFolderNameUnknown"),
    ("Temporary failure in name resolution", "SharedFolderNameUnknown"),
    ("Failed to initialize TLS tunnel", "SharedFolderTlsFailed"),
    ("Failed to create certificate", "SharedFolderTlsFailed"),
    ("certificate verify failed", "SharedFolderTlsFailed"),
    ("timed out", "SharedFolderUnmounted"),
    ("Connection refused", "SharedFolderUnmounted"),
    ("No route to host", "SharedFolderUnmounted"),
    ("Network is unreachable", "SharedFolderUnmounted"),
    ("does not answer", "SharedFolderUnmounted"),
)
"""From nfs-utils (utils/mount/error.c) and efs-utils (src/mount_efs/__init__.py, which shows mount.nfs4's words)."""
REFUSALS = ("SharedFolderDenied", "SharedFolderNoSuchExport")
"""A server answers and says no; another machine is told the same."""


def mount_failure(what: str, log: Sequence[str]) -> Failure:
    """The failure to mount *what*, by the newest line of *log* that says why."""
    for line in reversed(log):
        for words, code in WORDS:
            if words in line:
                return Failure(code, f"{what}: {line.strip()}", log)
    return Failure("SharedFolderUnmounted", what, log)
