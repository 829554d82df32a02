"""One download of any size: resumed where it was cut, its checksum computed on the way."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.request
from http.client import HTTPResponse
from typing import Callable, Protocol

from agent import download_failures

TRIES = 8
"""Without a single byte in between."""
LONGEST_PAUSE = 30.0
TIMEOUT_SECONDS = 60


class Stream(Protocol):
    """Bytes that are read once from begin to end, and their checksum."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end."""

    def hexdigest(self) -> str:
        """SHA-256 of what was read."""

    def drain(self) -> str:
        """Read what is left, and return the SHA-256 of everything."""


class Download:
    """The bytes of a URL, or of what only the site opens."""

    def __init__(self, source: str, open_at: Callable[[str, int], HTTPResponse]) -> None:
        self._source = source
        self._open_at = open_at
        self._answer: HTTPResponse | None = None
        self._digest = hashlib.sha256()
        self._offset = 0
        self._length: int | None = None
        self._ended = False
        self._first_pause = 1.0

    def read(self, size: int) -> bytes:
        """The next bytes, at most *size*; empty at the end. Raises Failure when it is cut for good."""
        tries = 0
        while not self._ended:
            try:
                if self._answer is None:
                    self._open()
                assert self._answer is not None  # noqa: S101, it was just opened
                content = self._answer.read(size)
                if content:
                    self._offset += len(content)
                    self._digest.update(content)
                    return content
                if self._length is None or self._offset >= self._length:
                    self._ended = True
                    break
                raise ConnectionError(
                    f"the connection ended at byte {self._offset} of {self._length}"
                )
            except (OSError, http.client.HTTPException) as error:
                tries += 1
                self._answer = None
                failure = download_failures.final(self._source, error)
                if failure:
                    raise failure from error
                if tries >= TRIES:
                    raise download_failures.given_up(
                        self._source, error, tries, self._offset, self._length
                    ) from error
                print(f"download stopped at byte {self._offset}: {error}; resuming", flush=True)
                own = min(self._first_pause * 2 ** (tries - 1), LONGEST_PAUSE)
                time.sleep(max(own, download_failures.wanted_pause(error)))
        return b""

    def hexdigest(self) -> str:
        """SHA-256 of what was read; of everything, once `read` has returned nothing."""
        return self._digest.hexdigest()

    def drain(self) -> str:
        """Read what is left, and return the SHA-256 of everything."""
        while self.read(1024 * 1024):
            pass
        return self.hexdigest()

    def _open(self) -> None:
        answer = self._request()
        if self._offset == 0:
            length = answer.headers.get("Content-Length")
            self._length = int(length) if length else None
        elif answer.status != 206:
            # A server that knows no ranges begins anew: pass over what is here already.
            left = self._offset
            while left:
                passed = answer.read(min(left, 1024 * 1024))
                if not passed:
                    raise ConnectionError("the connection ended before the byte to resume at")
                left -= len(passed)
        self._answer = answer

    def _request(self) -> HTTPResponse:
        if not self._source.startswith(("https://", "http://")):
            return self._open_at(self._source, self._offset)
        asked = urllib.request.Request(self._source)
        if self._offset:
            asked.add_header("Range", f"bytes={self._offset}-")
        answer: HTTPResponse = urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS)
        return answer
