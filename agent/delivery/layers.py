"""Layers of images on their way to Docker, compressed once more.

Docker stores an archive of images whole before it unpacks the first layer of it. What the archive's own compression has
saved is lost there; but it takes layers that are compressed one by one, and then stores about half as much. Disks are
what limits a machine (a gp3 volume has 125 MB/s unless one pays for more), and its processors are idle meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tarfile
from io import BufferedReader
from pathlib import Path
from typing import IO

from agent.delivery.archive import widen
from agent.failures import Failure
from agent.machine import docker
from agent.machine.versions import is_at_least

CHUNK_BYTES = 1024 * 1024
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
    process = subprocess.Popen(
        COMPRESS,
        stdin=subprocess.PIPE,
        stdout=file,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101, it is a pipe
    assert process.stderr is not None  # noqa: S101, it is a pipe
    widen(process.stdin)
    try:
        with contextlib.suppress(BrokenPipeError):  # zstd says why
            shutil.copyfileobj(content, process.stdin, CHUNK_BYTES)
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace")
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stderr.close()
    if status:
        is_full = "no space left" in said.lower()
        raise Failure(
            "DiskFull" if is_full else "ImagesLoadFailed",
            "a layer cannot be compressed",
            said.splitlines(),
        )
    file.seek(0)
