"""Builds the archive of the node agent: one executable zip file, the same bytes from the same sources."""

import os
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = (1980, 1, 1, 0, 0, 0)


def build_archive(directory: Path = ROOT / ".build") -> Path:
    """Write ``agent.pyz`` into *directory* and return its path.

    Times and order are fixed, so that an unchanged agent has an unchanged hash on every machine.
    """
    directory.mkdir(exist_ok=True)
    archive = directory / "agent.pyz"
    partial = directory / f"{archive.name}.{os.getpid()}"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
        for source in sorted((ROOT / "agent").rglob("*.py")):
            name = source.relative_to(ROOT).as_posix().replace("agent/__main__", "__main__")
            zipped.writestr(zipfile.ZipInfo(name, EPOCH), source.read_bytes())
    partial.replace(archive)
    return archive
