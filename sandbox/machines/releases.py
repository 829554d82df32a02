"""The release that a stack's machines come with, as a machine image of the vendor's has one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..release.build import CUDA, VERSION
from .files import write


@dataclass(frozen=True)
class Release:
    """A stand-in release."""

    version: str = VERSION
    cuda: str = CUDA


def want(sandbox: Path, stack: str, release: Release) -> None:
    """Let machines of a stack that are made from now on come with a release; `make up` says the stack file's."""
    file = _file(sandbox, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, asdict(release))


def of(sandbox: Path, stack: str) -> Release:
    """What machines of a stack come with; the image's own where nobody wanted another."""
    file = _file(sandbox, stack)
    return Release(**json.loads(file.read_text())) if file.exists() else Release()


def _file(sandbox: Path, stack: str) -> Path:
    return sandbox / "releases" / f"{stack}.json"
