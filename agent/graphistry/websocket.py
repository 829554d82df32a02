"""RFC 6455, as much of it as a page's socket needs: the opening handshake, text messages, ping and close."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import struct
import time
from typing import Mapping
from urllib.parse import urlsplit

from agent.graphistry import door

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server adds to the client's key before it hashes it (RFC 6455, section 1.3)."""
LARGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes; far more than a session sends of a small graph."""
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, section 5.2)."""


class WebSocketError(Exception):
    """The server refuses the handshake, breaks the protocol, ends the connection, or says nothing in time."""


class WebSocket:
    """An open connection; everything that is said on it is said within *seconds* from its start."""

    def __init__(self, address: str, path: str, headers: Mapping[str, str], seconds: float) -> None:
        self._end = time.monotonic() + seconds
        try:
            self._connection = door.connect(address, seconds)
        except OSError as error:
            raise WebSocketError(str(error)) from error
        self._stream = self._connection.makefile("rb")
        try:
            self._shake_hands(urlsplit(address).netloc, path, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise WebSocketError(str(error)) from error
        except WebSocketError:
            self.close()
            raise

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a server that is gone already is not missed."""
        with contextlib.suppress(OSError):
            self._connection.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        self._stream.close()
        self._connection.close()

    def send(self, text: str) -> None:
        """Send one text message."""
        self._send(TEXT, text.encode())

    def receive(self) -> str:
        """The next text message; binary ones are passed over. Raises WebSocketError."""
        kind, content = 0, b""
        while True:
            final, opcode, payload = self._frame()
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else "none"
                said = payload[2:].decode(errors="replace")
                raise WebSocketError(f"the server has closed it, code {code} {said}".rstrip())
            elif opcode in (TEXT, BINARY, MORE):
                kind = opcode or kind
                content += payload
                if len(content) > LARGEST_MESSAGE:
                    raise WebSocketError(f"a message of more than {LARGEST_MESSAGE} bytes")
                if final and kind == TEXT:
                    return content.decode(errors="replace")
                if final:
                    kind, content = 0, b""
            elif opcode != PONG:
                raise WebSocketError(f"a frame of kind {opcode}, which nobody has agreed on")

    def _shake_hands(self, host: str, path: str, headers: Mapping[str, str]) -> None:
        key = base64.b64encode(os.urandom(16))
        lines = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode(),
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        asked = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._connection.sendall(f"GET {path} HTTP/1.1\r\n{asked}\r\n".encode())
        words = self._stream.readline(4096).decode(errors="replace").split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1."):
            raise WebSocketError("what answers is not HTTP")
        answer = http.client.parse_headers(self._stream)
        if words[1] != "101":
            length = min(int(answer.get("Content-Length", "0")), 200)
            said = self._stream.read(length).decode(errors="replace")
            raise WebSocketError(f"HTTP {' '.join(words[1:]).strip()} {said}".strip())
        if answer.get("Sec-WebSocket-Accept", "") != accepted(key):
            raise WebSocketError("the server has not understood the handshake (RFC 6455, 4.1)")

    def _send(self, opcode: int, payload: bytes) -> None:
        self._hurry()
        try:
            self._connection.sendall(frame(opcode, payload))
        except OSError as error:
            raise WebSocketError(f"the connection has ended: {error}") from error

    def _frame(self) -> tuple[bool, int, bytes]:
        """Whether it is a message's last frame, its opcode, its payload."""
        first, second = self._bytes(2)
        if first & 0x70 or second & 0x80:
            raise WebSocketError("the server does not speak WebSocket")
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._bytes(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._bytes(8))[0]
        if length > LARGEST_MESSAGE:
            raise WebSocketError(f"a message of {length} bytes")
        return bool(first & 0x80), first & 0x0F, self._bytes(length)

    def _bytes(self, count: int) -> bytes:
        self._hurry()
        try:
            found = self._stream.read(count)
        except OSError as error:
            raise WebSocketError(f"nothing more was said in time: {error}") from error
        if len(found) < count:
            raise WebSocketError("the connection has ended")
        return found

    def _hurry(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise WebSocketError("nothing more was said in time")
        self._connection.settimeout(left)


def accepted(key: bytes) -> str:
    """What a server answers to a client's key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key + GUID).digest()  # noqa: S324 - what the protocol says; it guards nothing
    return base64.b64encode(digest).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message as a client sends it: masked (RFC 6455, 5.3)."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    masked = bytes(each ^ mask[index % 4] for index, each in enumerate(payload))
    return head + mask + masked
