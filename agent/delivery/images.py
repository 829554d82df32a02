"""The images of a release on their way into Docker: under names that nothing starts, until its checksum is known."""

from __future__ import annotations

import io
import json
import os
import posixpath
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, cast

from agent.delivery import layers
from agent.delivery.archive import CHUNK_BYTES, Archive
from agent.delivery.feeding import fed
from agent.failures import Failure
from agent.machine.commands import require, run

UNVERIFIED = "graphistry-cluster-unverified"
"""The name of images whose archive has not had the right checksum yet; each has a tag."""
MANIFEST = "manifest.json"
NAMING = (MANIFEST, "repositories", "index.json", "oci-layout")
"""The files of an archive of `docker save` that name its images; Docker needs the first only."""
Names = Dict[str, List[str]]
"""The images of an archive: what Docker has loaded them as, and how they are called in it."""


def load_unverified(content: IO[bytes], folder: Path, images: Names) -> None:
    """Let Docker load images from a stream, under names that nothing starts; all names go to *images*.

    *folder* has room for a layer meanwhile.
    """
    room = folder if layers.may_be_compressed() else None
    with Archive(content) as stream:
        try:
            with tarfile.open(fileobj=stream.output, mode="r|", bufsize=CHUNK_BYTES) as archive:
                load(lambda docker: _renamed(archive, docker, images, room))
        except (tarfile.TarError, EOFError, ValueError, LookupError, TypeError) as error:
            stream.raise_cause()
            raise Failure(
                "ReleaseArchiveInvalid", f"the archive of the images cannot be read: {error}"
            ) from error
        stream.finish()


def name_images(images: Names) -> None:
    """Give the images of an archive that was the right one their names."""
    for unverified, names in images.items():
        for name in names:
            words = ["docker", "tag", unverified, name]
            require("ImagesLoadFailed", f"the image {name} cannot be named", words)
    remove_images(list(images))


def remove_images(images: list[str]) -> None:
    """Remove images by name, those that are not in use."""
    if images:
        run(["docker", "rmi", *images], seconds=300)


def load(feed: Callable[[IO[bytes]], object]) -> None:
    """Let Docker load what *feed* writes. Raises Failure."""
    status, said = fed(["docker", "load"], feed)
    if status:
        raise _load_failure(said[-20:])


class _Pipe:
    """A pipe as tarfile writes to it, which asks where it is; its own streams copy everything many times."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.write = pipe.write

    def tell(self) -> int:
        """Where the archive begins."""
        return 0


def _renamed(archive: tarfile.TarFile, docker: IO[bytes], images: Names, room: Path | None) -> None:
    """Pass an archive of images on with other names in it, and its layers compressed where there is *room* for one."""
    before = len(images)
    pipe: Any = _Pipe(docker)
    with tarfile.TarFile(fileobj=pipe, mode="w", copybufsize=CHUNK_BYTES) as out:
        for member in archive:
            path = posixpath.normpath(member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if posixpath.basename(path) not in NAMING:
                _pass(member, content, out, room)
            elif path not in NAMING or content is None:
                # A link on the way, or one in its place, would bring names past us.
                raise Failure(
                    "ReleaseArchiveUnsafe", f"in the images, {member.name} is no plain file"
                )
            elif path == MANIFEST:
                manifest = json.loads(content.read())
                for image in manifest:
                    name = f"{UNVERIFIED}:{len(images)}"
                    images[name] = image["RepoTags"] or []
                    image["RepoTags"] = [name]
                text = json.dumps(manifest).encode()
                renamed = tarfile.TarInfo(MANIFEST)
                renamed.size = len(text)
                out.addfile(renamed, io.BytesIO(text))
    if len(images) == before:
        raise Failure(
            "ReleaseArchiveInvalid", f"the archive of the images has none in a {MANIFEST}"
        )


def _pass(
    member: tarfile.TarInfo, content: IO[bytes] | None, out: tarfile.TarFile, room: Path | None
) -> None:
    layer = cast(io.BufferedReader, content)
    if content is None or room is None or not layers.can_be_compressed(layer, member.size, room):
        out.addfile(member, content)
        return
    with tempfile.TemporaryFile(dir=room) as file:  # an archive tells sizes first
        layers.compress(layer, file)
        changed = tarfile.TarInfo(member.name)
        changed.size = os.fstat(file.fileno()).st_size
        out.addfile(changed, file)


def _load_failure(tail: list[str]) -> Failure:
    if any("no space left" in line.lower() for line in tail):
        return Failure("DiskFull", "the images do not fit into Docker's data", tail)
    return Failure("ImagesLoadFailed", "docker load has failed", tail)
