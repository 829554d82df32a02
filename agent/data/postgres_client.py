"""As much of PostgreSQL's protocol as it takes to prove that the database answers with the cluster's password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct

PROTOCOL = 196608
"""Version 3.0."""
TIMEOUT_SECONDS = 10
LONGEST_MESSAGE = 2**20
"""Of those that are awaited here, which have some dozens of bytes."""


class PostgresError(Exception):
    """The database answers and refuses; *sqlstate* is its own code, empty for what is not PostgreSQL's protocol."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(f"{sqlstate} {message}".strip())
        self.sqlstate = sqlstate


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 7677), without channel binding."""

    def __init__(self, user: str, password: str, nonce: str | None = None) -> None:
        self._password = password
        self._nonce = nonce or secrets.token_urlsafe(18)
        # PostgreSQL takes the user from the start-up message and ignores this one.
        self._bare = f"n={user},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> str:
        """The first message."""
        return f"n,,{self._bare}"

    def final(self, challenge: str) -> str:
        """The answer to the server's challenge; raises PostgresError for one that is not for us."""
        parts = _attributes(challenge)
        nonce, salt, rounds = parts["r"], base64.b64decode(parts["s"]), int(parts["i"])
        if not nonce.startswith(self._nonce):
            raise PostgresError("the server answered with another client's nonce")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, rounds)
        client_key = _hmac(salted, b"Client Key")
        stored_key = hashlib.sha256(client_key).digest()
        without_proof = f"c=biws,r={nonce}"
        message = f"{self._bare},{challenge},{without_proof}".encode()
        signature = _hmac(stored_key, message)
        proof = bytes(one ^ other for one, other in zip(client_key, signature))
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}"

    def verify(self, outcome: str) -> None:
        """Raise PostgresError unless the server, too, knows the password."""
        signature = base64.b64decode(_attributes(outcome).get("v", ""))
        if not hmac.compare_digest(signature, self._server_signature):
            raise PostgresError("the server does not know the password itself")


def max_connections(
    host: str, port: int, password: str, user: str = "graphistry", database: str = "graphistry"
) -> int:
    """Log in and ask for ``max_connections``; raises PostgresError for a refusal, OSError if nobody answers."""
    with socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        text = f"user\0{user}\0database\0{database}\0\0".encode()
        _send(connection, b"", struct.pack("!i", PROTOCOL) + text)
        _authenticate(connection, user, password)
        _until_ready(connection)
        _send(connection, b"Q", b"SHOW max_connections\0")
        rows = [body for kind, body in _until_ready(connection) if kind == b"D"]
        _send(connection, b"X", b"")
    try:
        # One column: how many there are, its length, its text.
        return int(rows[0][6:])
    except (IndexError, ValueError):
        raise PostgresError("SHOW max_connections has no answer") from None


def _md5_answer(user: str, password: str, salt: bytes) -> str:
    """The answer to a server whose passwords are kept as before PostgreSQL 14, which data may be older than."""
    inner = hashlib.md5((password + user).encode()).hexdigest()  # noqa: S324, PostgreSQL's protocol
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()  # noqa: S324, the same


def _authenticate(connection: socket.socket, user: str, password: str) -> None:
    scram = Scram(user, password)
    while True:
        kind, body = _receive(connection)
        if kind != b"R":
            raise PostgresError(f"message {kind!r} instead of an authentication")
        (method,) = struct.unpack("!i", body[:4])
        if method == 0:
            return
        if method == 5:
            answer = _md5_answer(user, password, body[4:8])
            _send(connection, b"p", answer.encode() + b"\0")
        elif method == 10 and b"SCRAM-SHA-256" in body[4:].split(b"\0"):
            first = scram.first().encode()
            _send(connection, b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif method == 11:
            _send(connection, b"p", scram.final(body[4:].decode()).encode())
        elif method == 12:
            scram.verify(body[4:].decode())
        else:
            raise PostgresError(
                f"the server wants authentication {method}; SCRAM-SHA-256 and MD5 are known here"
            )


def _until_ready(connection: socket.socket) -> list[tuple[bytes, bytes]]:
    """All messages up to the one that says the server is ready."""
    found = [_receive(connection)]
    while found[-1][0] != b"Z":
        found.append(_receive(connection))
    return found


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 5)
    (length,) = struct.unpack("!i", head[1:])
    if not 4 <= length <= LONGEST_MESSAGE:
        raise PostgresError(
            f"what answers begins with {head!r}, which is not PostgreSQL's protocol"
        )
    kind, body = head[:1], _exactly(connection, length - 4)
    if kind == b"E":
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        raise PostgresError(fields.get(b"M", ""), fields.get(b"C", ""))
    return kind, body


def _send(connection: socket.socket, kind: bytes, body: bytes) -> None:
    connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            # Docker's proxy takes connections for a container that does not listen, and closes them.
            raise ConnectionError("the connection was closed without an answer")
        content += part
    return content


def _attributes(text: str) -> dict[str, str]:
    return {part[:1]: part[2:] for part in text.split(",")}


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
