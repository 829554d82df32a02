"""The server's side of a WebSocket (RFC 6455): text messages, one at a time."""

import base64
import hashlib
import socket
import struct
from collections.abc import Mapping

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class EndedError(OSError):
    """The other side has closed the connection, or broken the protocol."""


class WebSocket:
    """A connection whose client has asked for one with these headers."""

    def __init__(self, connection: socket.socket, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._read = b""
        asked = {name.lower(): value for name, value in headers.items()}
        key = asked.get("sec-websocket-key", "")
        digest = hashlib.sha1(f"{key}{GUID}".encode()).digest()  # noqa: S324 - the protocol's
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    def send(self, text: str, opcode: int = _TEXT) -> None:
        """Send a message."""
        content = text.encode()
        size = len(content)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        self._connection.sendall(head + content)

    def receive(self, seconds: float) -> str | None:
        """The next text; None where nothing is said for so long. Raises OSError at the end of the connection."""
        self._connection.settimeout(seconds)
        while True:
            try:
                first, second = self._peek(2)
                size, start = second & 0x7F, 2
                if size > 125:
                    start = 4 if size == 126 else 10
                    size = int.from_bytes(self._peek(start)[2:start])
                if not second & 0x80:
                    raise EndedError("a client's frame is not masked")
                message = self._peek(start + 4 + size)
            except TimeoutError:
                return None
            self._read = self._read[len(message) :]
            mask, masked = message[start : start + 4], message[start + 4 :]
            content = bytes(each ^ mask[index % 4] for index, each in enumerate(masked))
            if first & 0x0F == _CLOSE:
                raise EndedError("closed")
            if first & 0x0F == _PING:
                self.send(content.decode(), _PONG)
            elif first & 0x0F == _TEXT:
                return content.decode()

    def _peek(self, count: int) -> bytes:
        while len(self._read) < count:
            more = self._connection.recv(65536)
            if not more:
                raise EndedError("the connection has ended")
            self._read += more
        return self._read[:count]
