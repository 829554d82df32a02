"""An archive of Graphistry on this computer: what it is, found out in one pass over its bytes."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.delivery.archive import GZIP, IMAGE_ARCHIVES, ZSTANDARD, Archive
from agent.failures import Failure
from model.problems import UserError

MEBIBYTE = 2**20
SMALLEST_PART = 16 * MEBIBYTE
"""Of an upload; S3 takes 5 MiB and more, and each part is a request."""
MOST_PARTS = 10_000
"""S3's limit for one upload."""
USTAR = b"ustar"
"""What the first block of a tar archive has in it, compressed by nothing."""
LONGEST_TEXT = 1024
"""Bytes of VERSION that are read; the vendor's have fewer than ten."""
NEEDED = ("graphistry", "VERSION", "CUDA_SHORT_VERSION")
"""Files by which the node agent knows a release, beside the archive of its container images."""


@dataclass(frozen=True)
class Part:
    """One part of an upload."""

    number: int
    offset: int
    size: int
    sha256: str
    """In base64, as S3 has it."""
    md5: str
    """In hex; the entity tag of a part that is encrypted with S3's own key."""


@dataclass(frozen=True, kw_only=True)
class ReleaseArchive:
    """An archive that the node agent can install."""

    file: Path
    size: int
    sha256: str
    version: str
    cuda: str
    suffix: str
    """``.tar.gz``, ``.tar.zst`` or ``.tar``, by its content."""
    parts: tuple[Part, ...]

    @property
    def key(self) -> str:
        """Its name in a bucket: another content has another one, so what nodes fetch never changes under them."""
        return object_key(self.version, self.cuda, self.sha256, self.suffix)


def require_archive(file: Path) -> None:
    """Raise :class:`UserError` for what does not even begin as an archive; only its first bytes are read."""
    if not file.is_file():
        raise UserError(
            f"ARCHIVE: got {file}, which is no file; give the vendor's archive: ./cluster publish STACK release.tar.gz"
        )
    try:
        with file.open("rb") as stream:
            head = stream.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    if not head.startswith((GZIP, ZSTANDARD)) and USTAR not in head:
        raise UserError(
            f"{file} is no archive of tar, by its first bytes; Graphistry's is release.tar.gz. Download it again if "
            "it was cut"
        )


def object_key(version: str, cuda: str, sha256: str, suffix: str) -> str:
    """The name of an archive in a bucket."""
    return f"graphistry-{version}-{cuda}-{sha256[:12]}{suffix}"


def inspect(file: Path, progress: Callable[[int], None] = lambda _: None) -> ReleaseArchive:
    """Read *file* once: its checksum, those of its parts, and whether the agent can install what is in it.

    *progress* gets the number of bytes read so far. Raises :class:`UserError` for what is no release of Graphistry.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(len(ZSTANDARD))
            stream.seek(0)
            if head == ZSTANDARD and shutil.which("zstd") is None:
                raise UserError(
                    f"{file} is compressed with Zstandard; install zstd to look into it"
                )
            reader = _Reader(stream, part_size(size), progress)
            found = _contents(reader, file)
            sha256 = reader.drain()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    suffix = ".tar.gz" if head.startswith(GZIP) else ".tar.zst" if head == ZSTANDARD else ".tar"
    return ReleaseArchive(
        file=file,
        size=reader.offset,
        sha256=sha256,
        version=found["VERSION"].lstrip("v"),
        cuda=found["CUDA_SHORT_VERSION"],
        suffix=suffix,
        parts=reader.parts,
    )


def part_size(size: int) -> int:
    """Bytes of each part of an upload but the last; the same whenever an upload is resumed."""
    least = -(-size // MOST_PARTS)
    return max(SMALLEST_PART, -(-least // MEBIBYTE) * MEBIBYTE)


class _Reader:
    """The bytes of a file and their checksums, as the agent reads a download."""

    def __init__(self, stream: object, size_of_part: int, progress: Callable[[int], None]) -> None:
        self._stream = stream
        self._size_of_part = size_of_part
        self._progress = progress
        self._whole = hashlib.sha256()
        self._begin_part()
        self._parts: list[Part] = []
        self.offset = 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size* and at most to the end of a part."""
        content: bytes = self._stream.read(min(size, self._size_of_part - self._in_part))  # type: ignore[attr-defined]
        for digest in (self._whole, self._sha256, self._md5):
            digest.update(content)
        self._in_part += len(content)
        self.offset += len(content)
        if self._in_part == self._size_of_part or (not content and self._in_part):
            self._end_part()
        self._progress(self.offset)
        return content

    def hexdigest(self) -> str:
        """SHA-256 of what was read."""
        return self._whole.hexdigest()

    def drain(self) -> str:
        """Read what is left, and return the SHA-256 of everything."""
        while self.read(MEBIBYTE):
            pass
        return self.hexdigest()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, once everything was read."""
        return tuple(self._parts)

    def _begin_part(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._in_part = 0

    def _end_part(self) -> None:
        self._parts.append(
            Part(
                number=len(self._parts) + 1,
                offset=self.offset - self._in_part,
                size=self._in_part,
                sha256=base64.b64encode(self._sha256.digest()).decode(),
                md5=self._md5.hexdigest(),
            )
        )
        self._begin_part()


def _contents(reader: _Reader, file: Path) -> dict[str, str]:
    """The text of VERSION and CUDA_SHORT_VERSION."""
    names: set[str] = set()
    texts: dict[str, str] = {}
    try:
        with Archive(reader) as stream:
            try:
                with tarfile.open(fileobj=stream.output, mode="r|") as archive:
                    for member in archive:
                        path = _safe(member.name, file)
                        if member.isfile():
                            names.add(path)
                        if PurePosixPath(path).name in NEEDED[1:] and member.isfile():
                            content = archive.extractfile(member)
                            assert content is not None  # noqa: S101 a file has content
                            text = content.read(LONGEST_TEXT).decode(errors="replace")
                            texts[path] = text.strip()
            except (tarfile.TarError, EOFError) as error:
                stream.raise_cause()
                raise UserError(
                    f"{file} is no archive of tar: {error}; Graphistry's is release.tar.gz. Download it again if it "
                    "was cut"
                ) from None
            stream.finish()
    except Failure as failure:
        raise UserError(f"{file}: {failure.message}; download it again if it was cut") from None
    root = _root(names)
    missing = [name for name in NEEDED if f"{root}{name}" not in names]
    if not any(f"{root}{name}" in names for name in IMAGE_ARCHIVES):
        missing.append(f"{IMAGE_ARCHIVES[0]} (the container images)")
    if missing:
        raise UserError(
            f"{file} is no release of Graphistry: {', '.join(missing)} missing in it. The vendor's archive has all of "
            f"{', '.join((*NEEDED, IMAGE_ARCHIVES[0]))} at its top, or in the one folder at its top"
        )
    return {name: texts[f"{root}{name}"] for name in NEEDED[1:]}


def _safe(name: str, file: Path) -> str:
    """The path of a member from the top of the archive. Raises :class:`UserError` for one that leads elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{file}: {name} in it leads out of the archive's folder; no node installs that"
        )
    return str(path)


def _root(names: set[str]) -> str:
    """Where the release is in the archive: at its top, or in the only folder there, which ends with a slash then."""
    tops = {PurePosixPath(name).parts[0] for name in names}
    if "graphistry" not in names and len(tops) == 1:
        return f"{tops.pop()}/"
    return ""
