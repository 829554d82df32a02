"""The few words of Redis that the services speak; the usual library takes longer to load than they to start."""

import os
import socket
import threading
from io import BufferedRWPair
from urllib.parse import unquote, urlsplit

Answer = str | int | list["Answer"] | None
SECONDS = 3


class RedisError(OSError):
    """Redis refuses a command."""


class EndedError(OSError):
    """The connection ended."""


_one_at_a_time = threading.Lock()
_connections: list[BufferedRWPair] = []
"""The one that this process keeps, as the product's do: they are clients of Redis for as long as they run."""


def redis(*words: str | int) -> Answer:
    """The answer of the Redis of REDIS_URL to one command. Raises OSError."""
    with _one_at_a_time:
        if _connections:
            try:
                return _ask(_connections[0], *map(str, words))
            except RedisError:
                raise
            except OSError:
                _connections.pop().close()
        stream = _connected()
        answer = _ask(stream, *map(str, words))
        _connections.append(stream)
        return answer


def _connected() -> BufferedRWPair:
    parts = urlsplit(os.environ["REDIS_URL"])
    address = (parts.hostname or "redis", parts.port or 6379)
    stream = socket.create_connection(address, SECONDS).makefile("rwb")
    if parts.password:
        _ask(stream, "AUTH", unquote(parts.password))
    if parts.path.strip("/"):
        _ask(stream, "SELECT", parts.path.strip("/"))
    return stream


def _ask(stream: BufferedRWPair, *words: str) -> Answer:
    encoded = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded))
    for word in encoded:
        stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
    stream.flush()
    return _answer(stream)


def _answer(stream: BufferedRWPair) -> Answer:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EndedError("the connection ended")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise RedisError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_answer(stream) for _ in range(int(rest))]
    return rest
