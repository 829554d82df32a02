"""The decompressed bytes of a stream, by the system's own fast decompressors."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import threading
from types import TracebackType
from typing import IO, Protocol

from agent.failures import Failure
from agent.machine import packages

GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
CHUNK_BYTES = 1024 * 1024
SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux, which Python names from 3.10 on."""

IMAGE_ARCHIVES = ("containers.tar.gz", "containers.tar.zst", "containers.tar")


class Readable(Protocol):
    """Bytes that are read once from begin to end."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end."""


class Archive:
    """The decompressed content of a download or of a file in another archive, which can only be read on.

    A thread carries the bytes to the decompressor, so that both and the reader work at once.
    """

    def __init__(self, download: Readable) -> None:
        self._download = download
        head = download.read(CHUNK_BYTES)
        while 0 < len(head) < len(ZSTANDARD):
            more = download.read(CHUNK_BYTES)
            if not more:
                break
            head += more
        self._error: BaseException | None = None
        self._process = subprocess.Popen(
            _decompressor(head),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        widen(self._process.stdin)
        widen(self._process.stdout)
        self._feeder = threading.Thread(target=self._feed, args=(head,), daemon=True)
        self._feeder.start()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if kind is None or issubclass(kind, Exception):
            self._feeder.join()  # not at the agent's own end, which a dead network must not delay
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def output(self) -> IO[bytes]:
        """The decompressed bytes."""
        assert self._process.stdout is not None  # noqa: S101, it is a pipe
        return self._process.stdout

    def finish(self) -> None:
        """Read to the end; raises Failure where the download or the decompressor had failed."""
        while self.output.read(CHUNK_BYTES):
            pass
        self.raise_cause()
        assert self._process.stderr is not None  # noqa: S101, it is a pipe
        said = self._process.stderr.read().decode(errors="replace")
        if self._process.wait():
            raise Failure(
                "ReleaseArchiveInvalid", f"the archive cannot be decompressed: {said.strip()}"
            )

    def raise_cause(self) -> None:
        """Raise what ended the download, which readers only see as an early end."""
        if self._process.poll() is not None:
            self._feeder.join()
        if self._error is not None:
            raise self._error

    def _feed(self, head: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101, it is a pipe
        try:
            chunk = head
            while chunk:
                try:
                    self._process.stdin.write(chunk)
                except BrokenPipeError:
                    return  # the decompressor has ended, and says why
                chunk = self._download.read(CHUNK_BYTES)
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()


def _decompressor(head: bytes) -> list[str]:
    """The command that decompresses what begins with *head*."""
    if head.startswith(GZIP):
        return ["pigz", "-dc"] if shutil.which("pigz") else ["gzip", "-dc"]
    if head.startswith(ZSTANDARD):
        _require_zstd()
        return ["zstd", "-dc", "--long=31"]
    return ["cat"]


def _require_zstd() -> None:
    if shutil.which("zstd"):
        return
    done = packages.install("zstd")
    if not shutil.which("zstd"):
        raise Failure("DecompressorMissing", "zstd cannot be installed", done.tail())


def widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a chunk: of the 64 KiB that it holds otherwise, each wakes a process, and a busy computer makes
    it wait (half of the time was that, measured). Where the system does not allow it the pipe stays as it is."""
    if pipe is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), SET_PIPE_SIZE, CHUNK_BYTES)
