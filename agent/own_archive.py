"""The archive that this agent runs from, and becoming another one."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Callable

from agent.failures import Failure
from agent.sites.site import Site
from agent.specification import Specification


class OwnArchive:
    """The file as it was when this process started; it may be another meanwhile."""

    def __init__(self) -> None:
        self.path = Path(sys.argv[0]).resolve()
        self._is_archive = self.path.suffix == ".pyz"
        self.sha256 = digest(self.path.read_bytes()) if self._is_archive else ""

    def replace(self, site: Site, specification: Specification, before: Callable[[], None]) -> None:
        """Become the agent that the specification names, if this is another one; *before* is called last."""
        if not self._is_archive or self.sha256 == specification.agent_sha256:
            return
        try:
            content = site.fetch_agent(specification)
        except OSError as error:
            raise Failure("AgentUnavailable", f"the agent cannot be fetched: {error}") from error
        require(content, specification)
        write(self.path, content)
        print(f"becoming the agent {specification.agent_sha256}", flush=True)
        before()
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606, nothing is for a shell


def require(content: bytes, specification: Specification) -> None:
    """Raises Failure AgentChecksumMismatch unless *content* is the agent that the specification names."""
    if digest(content) != specification.agent_sha256:
        raise Failure(
            "AgentChecksumMismatch",
            f"the agent has sha256 {digest(content)}, the specification names"
            f" {specification.agent_sha256}",
        )


def write(path: Path, content: bytes) -> bool:
    """Replace an archive whole; True where that changed it."""
    if path.exists() and path.read_bytes() == content:
        return False
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return True


def digest(content: bytes) -> str:
    """SHA-256, as specifications name archives."""
    return hashlib.sha256(content).hexdigest()
