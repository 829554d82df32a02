"""One download of any size: its parts are asked for at once and read in their order, its checksum computed on the way.

S3 gives one request 85 to 90 MB/s, and a machine of AWS has 10 to 100 Gbit/s (AWS, performance guidelines for S3: parts
of 8 or 16 MB, one request at once for each 85 to 90 MB/s that are wanted). No disk is used, and of memory
AT_ONCE * PART_BYTES, 128 MiB, 1.6 % of the smallest host: another part is asked for when one was read. So no
connection stands idle while Docker is busy, and a part that nobody reads any more ends by itself.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import deque
from typing import Iterator, Protocol

from agent.delivery.archive import CHUNK_BYTES
from agent.delivery.remote_object import Open, RemoteObject
from agent.failures import Failure

PART_BYTES = 16 * 1024 * 1024
"""Of one request, which takes 0.2 s at S3's rate: long beside the making of its connection."""
AT_ONCE = 8
"""Parts that are on their way, or here and not read whole: some 700 MB/s of S3, more than one processor unpacks."""


class Stream(Protocol):
    """Bytes that are read once from begin to end, and their checksum."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end."""

    def hexdigest(self) -> str:
        """SHA-256 of what was read."""


def drained(stream: Stream) -> str:
    """Read what is left, and return the SHA-256 of everything."""
    while stream.read(CHUNK_BYTES):
        pass
    return stream.hexdigest()


class Download:
    """The bytes of a URL, or of what only the site opens."""

    def __init__(self, source: str, open_release: Open) -> None:
        self._chunks = _in_order(RemoteObject(source, open_release))
        self._rest = b""
        self._failure: Failure | None = None
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end. Raises Failure when it is cut for good."""
        if self._failure is not None:
            raise self._failure
        try:
            content = self._rest or next(self._chunks, b"")
        except Failure as failure:
            self._failure = failure
            raise
        content, self._rest = content[:size], content[size:]
        self._digest.update(content)
        return content

    def hexdigest(self) -> str:
        """SHA-256 of what was read; of everything, once `read` has returned nothing."""
        return self._digest.hexdigest()


def _in_order(found: RemoteObject) -> Iterator[bytes]:
    """All bytes of an object. The first answer says how long it is, and whether its server gives parts of it."""
    try:
        part: Iterator[bytes] = found.part(0, PART_BYTES)
        yield next(part, b"")
        ahead: deque[_Ahead] = deque()
        begin = PART_BYTES
        while True:
            while begin < found.length_in_parts and len(ahead) < AT_ONCE - 1:
                ahead.append(_Ahead(found.part(begin, begin + PART_BYTES)))
                begin += PART_BYTES
            yield from part
            if not ahead:
                return
            part = ahead.popleft().chunks()
    finally:
        found.is_left = True


class _Ahead:
    """A part that a thread of its own fetches, however late it is read."""

    def __init__(self, part: Iterator[bytes]) -> None:
        self._fetched: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._fetch, args=(part,), daemon=True).start()

    def chunks(self) -> Iterator[bytes]:
        """The part's bytes as they come. Raises what has kept the others from coming."""
        while True:
            fetched = self._fetched.get()
            if isinstance(fetched, Exception):
                raise fetched
            if not fetched:
                return
            yield fetched

    def _fetch(self, part: Iterator[bytes]) -> None:
        try:
            for content in part:
                self._fetched.put(content)
            self._fetched.put(b"")
        except Exception as error:
            self._fetched.put(error)
