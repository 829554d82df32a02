"""As much of Redis's protocol as the agent needs."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import IO, List, Union

TIMEOUT_SECONDS = 10

Answer = Union[None, int, str, List["Answer"]]


class RedisError(Exception):
    """Redis refuses a command; its messages hold no passwords."""


class Redis:
    """One connection."""

    def __init__(self, host: str, port: int, password: str | None, user: str | None = None) -> None:
        self._connection = socket.create_connection((host, port), timeout=TIMEOUT_SECONDS)
        self._stream: IO[bytes] = self._connection.makefile("rb")
        if password is None:
            return
        try:
            self.call("AUTH", *([user] if user else []), password)
        except BaseException:
            self.close()
            raise

    def call(self, *words: str) -> Answer:
        """The answer to a command."""
        encoded = [word.encode() for word in words]
        parts = [f"*{len(encoded)}\r\n".encode()]
        parts += [f"${len(word)}\r\n".encode() + word + b"\r\n" for word in encoded]
        self._connection.sendall(b"".join(parts))
        return self._answer()

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._connection.close()

    def __enter__(self) -> Redis:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> Answer:
        line = self._stream.readline().decode(errors="replace").rstrip("\r\n")
        if not line:
            # Docker's proxy takes connections for a container that does not listen, and closes them.
            raise ConnectionError("the connection was closed without an answer")
        kind, rest = line[0], line[1:]
        if kind == "-":
            raise RedisError(rest)
        if kind == "+":
            return rest
        if kind == ":":
            return int(rest)
        if kind == "$":
            size = int(rest)
            return None if size < 0 else self._stream.read(size + 2)[:-2].decode(errors="replace")
        if kind == "*":
            return [self._answer() for _ in range(int(rest))]
        raise RedisError(f"an answer that begins with {kind!r}")
