"""What is downloaded: parts of one object, each resumed where it was cut, and all of one content."""

from __future__ import annotations

import http.client
import re
import time
import urllib.request
from http.client import HTTPResponse
from typing import Callable, Iterator

from agent.delivery import download_failures
from agent.delivery.archive import CHUNK_BYTES
from agent.failures import Failure

TRIES = 8
"""Without a single byte of the part in between."""
LONGEST_PAUSE = 30.0
FIRST_PAUSE = 1.0
TIMEOUT_SECONDS = 60
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
"""RFC 9110: where the part begins, and how long the whole is."""

Open = Callable[[str, str], HTTPResponse]
"""What a site answers for a source and a range of it."""


class RemoteObject:
    """A URL, or what only the site opens."""

    def __init__(self, source: str, open_release: Open) -> None:
        self._source = source
        self._open_release = open_release
        self._is_known = False
        self._has_parts = False
        self._length: int | None = None
        self._tag: str | None = None
        """Of every answer of S3, so that no two parts are of two contents; a version only few roles may ask for. Of
        servers that mirror a file each may have its own, and the checksum of the whole tells too."""
        self.is_left = False
        """Set when nobody reads any more, for whoever fetches a part."""

    @property
    def length_in_parts(self) -> int:
        """How long the object is where its server gives parts of it; else 0, and the first part is all of it."""
        return self._length or 0 if self._has_parts else 0

    def part(self, begin: int, end: int | None) -> Iterator[bytes]:
        """The bytes from *begin* to *end*, or to the object's. Raises Failure when they are cut for good."""
        offset, tries = begin, 0
        answer: HTTPResponse | None = None
        while not self.is_left:
            try:
                if answer is None:
                    answer = self._answer(offset, end)
                    end = self._end(end)
                content = answer.read(
                    CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - offset)
                )
                if not content and end is not None and offset < end:
                    raise ConnectionError(
                        f"the connection ended at byte {offset} of {self._length}"
                    )
            except (OSError, http.client.HTTPException) as error:
                if self.is_left:
                    return
                tries, answer = tries + 1, None
                failure = download_failures.final(self._source, error)
                if failure:
                    raise failure from error
                if tries >= TRIES:
                    raise download_failures.given_up(
                        self._source, error, tries, offset, self._length
                    ) from error
                print(f"download stopped at byte {offset}: {error}; resuming", flush=True)
                own = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
                time.sleep(max(own, download_failures.wanted_pause(error)))
                continue
            if not content:
                return
            offset, tries = offset + len(content), 0
            yield content

    def _end(self, end: int | None) -> int | None:
        """Where a part ends, once an answer has told how long the object is; None where none has."""
        if end is None or self._length is None or not self._has_parts:
            return self._length
        return min(end, self._length)

    def _answer(self, offset: int, end: int | None) -> HTTPResponse:
        """An answer whose next byte is that at *offset*; raises Failure where it is of another content."""
        answer = self._request(f"bytes={offset}-{'' if end is None else end - 1}")
        is_part = answer.status == http.client.PARTIAL_CONTENT
        text = answer.headers.get("Content-Length")
        length = int(text) if text else None
        if is_part:
            told = _CONTENT_RANGE.match(answer.headers.get("Content-Range") or "")
            if told is None or int(told[1]) != offset:
                raise ConnectionError(f"another part was answered than that from byte {offset} on")
            length = int(told[2])
        self._require_same(answer.headers.get("ETag"), length, is_part)
        # A server that knows no ranges begins anew: pass over what is here already.
        left = 0 if is_part else offset
        while left:
            passed = answer.read(min(left, CHUNK_BYTES))
            if not passed:
                raise ConnectionError("the connection ended before the byte to resume at")
            left -= len(passed)
        return answer

    def _require_same(self, tag: str | None, length: int | None, is_part: bool) -> None:
        if not self._is_known:
            self._tag, self._length, self._has_parts = tag, length, is_part
            self._is_known = True
        other_length = None not in (length, self._length) and length != self._length
        other_tag = self._source.startswith("s3://") and tag != self._tag
        if other_tag or other_length:
            raise Failure(
                "ReleaseChecksumMismatch",
                f"{self._source} was changed while it was fetched: it had {self._length} bytes and"
                f" the tag {self._tag}, then {length} and {tag}; nothing of it was kept",
            )

    def _request(self, span: str) -> HTTPResponse:
        if not self._source.startswith(("https://", "http://")):
            return self._open_release(self._source, span)
        asked = urllib.request.Request(self._source, headers={"Range": span})
        answer: HTTPResponse = urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS)
        return answer
