"""Layers of images on their way to Docker, compressed once more.

Docker stores an archive of images whole before it unpacks the first layer of it. What the archive's own compression has
saved is lost there; but it takes layers that are compressed one by one, and then stores about half as much. Disks are
what limits a machine (a gp3 volume has 125 MB/s unless one pays for more), and its processors are idle meanwhile.
"""

from __future__ import annotations

import shutil
import tarfile
from io import BufferedReader
from pathlib import Path
from typing import IO

from agent.delivery.archive import CHUNK_BYTES
from agent.delivery.feeding import fed
from agent.failures import Failure
from agent.machine import docker
from agent.machine.versions import is_at_least

COMPRESS = ["zstd", "-q", "-c", "-1", "-T0"]
USTAR = slice(257, 262)
"""Where a tar archive says that it is one; a layer that is compressed already does not."""


def may_be_compressed() -> bool:
    """Whether Docker unpacks what zstd compressed: version 23 and newer, where it has its images itself.

    containerd, where that has them, keeps the layers of an archive as they come, beside the unpacked ones.
    """
    told = docker.information("{{.ServerVersion}} {{.Driver}}").split()
    is_taken = len(told) == 2 and is_at_least(told[0], "23") and told[1] == "overlay2"
    return is_taken and shutil.which("zstd") is not None


def can_be_compressed(content: BufferedReader, size: int, folder: Path) -> bool:
    """Whether this is a layer, of *size* bytes, and *folder* is sure to have room for it."""
    is_layer = content.peek(tarfile.BLOCKSIZE)[USTAR] == b"ustar"
    return is_layer and shutil.disk_usage(folder).free > 2 * size


def compress(content: IO[bytes], file: IO[bytes]) -> None:
    """Write a layer to *file*, which is read from its begin then. Raises Failure."""
    status, said = fed(COMPRESS, lambda pipe: shutil.copyfileobj(content, pipe, CHUNK_BYTES), file)
    if status:
        is_full = any("no space left" in line.lower() for line in said)
        raise Failure(
            "DiskFull" if is_full else "ImagesLoadFailed",
            "a layer cannot be compressed",
            said,
        )
    file.seek(0)
