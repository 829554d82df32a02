"""A release's archive that the operator's computer has brought to this host."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from agent.failures import Failure
from agent.node import HOME


def place(sha256: str) -> Path:
    """Where the archive with this checksum waits to be unpacked."""
    return HOME / "incoming" / sha256


def take(archive: Path, sha256: str) -> None:
    """Move a delivered archive to its place, which has it whole or not at all."""
    final = place(sha256)
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = final.with_name(f"{sha256}.partial")
    shutil.move(str(archive), str(partial))
    partial.replace(final)


def keep_only(sha256: str | None) -> None:
    """Free the disk of archives that nobody waits for any more."""
    for each in (HOME / "incoming").glob("*"):
        if each.name != sha256:
            each.unlink()


class LocalArchive:
    """A file that is read once from begin to end, like a download."""

    def __init__(self, path: Path) -> None:
        try:
            self._stream = path.open("rb")
        except FileNotFoundError as error:
            raise Failure(
                "ReleaseUnavailable",
                f"{path} is not there: it was not delivered, or was another archive than"
                " release.sha256 names",
            ) from error
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end."""
        content = self._stream.read(size)
        self._digest.update(content)
        return content

    def hexdigest(self) -> str:
        """SHA-256 of what was read."""
        return self._digest.hexdigest()
