"""The data of a sandbox's Docker begins with the base of the machines' image, which an earlier one has imported.

An import takes 9 s of processor time and 0.6 GB. Docker never writes into a layer that it has, so the files of the
first import serve all others as hard links; where the cache is on another disk, each Docker imports for itself.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ..user_cache import built_once, cache
from .commands import MachineError, run

# What Docker knows of its images, and their layers. A Docker that runs has mounted its data onto itself, and no link
# goes from one mount to another: this shell is alone in seeing what is below that mount.
_LINK = (
    'umount --lazy "$1" 2>/dev/null; mkdir "$2"; cp --archive --link "$1/image" "$1/overlay2" "$2"'
)


def kept_data(archive: Path) -> Path:
    """Where the data is, or would be, of a Docker that has the base of an archive and nothing else."""
    return cache() / f"machine-docker-{archive.name.partition('.')[0].rpartition('-')[2]}"


def begin(data: Path, archive: Path) -> None:
    """Give a Docker that never ran what is kept, if that can be linked to."""
    kept = kept_data(archive)
    if data.exists() or not kept.exists():
        return
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a start that was interrupted
    try:
        run(["cp", "--archive", "--link", str(kept), str(partial)])
    except MachineError:
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.rename(data)


def keep(data: Path, archive: Path) -> None:
    """Keep for others what a Docker has that has imported the base, and nothing else so far."""

    def link(draft: Path) -> None:
        run(["unshare", "--mount", "sh", "-c", _LINK, "sh", str(data), str(draft)])

    try:
        built_once(kept_data(archive), "machine-docker", "links to the base", link, logging.info)
    except MachineError as error:  # another disk, or a Docker that stores its images in another way
        words = str(error).splitlines()[-1]
        logging.info("each sandbox imports the machines' image for itself: %s", words)
