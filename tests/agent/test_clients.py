"""The small clients, against vectors and servers of this computer."""

import base64
import hashlib
import hmac
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from agent.data.postgres_client import PostgresError, Scram, max_connections
from agent.data.redis_client import Redis, RedisError
from agent.folders import nfs
from agent.folders.mount_errors import mount_failure
from agent.machine import ports
from agent.specification import Nfs


def serve(answer: Callable[[socket.socket], None]) -> int:
    """Let *answer* talk to one client; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with listener, listener.accept()[0] as connection:
            answer(connection)

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_scram_gives_the_proof_of_rfc_7677() -> None:
    scram = Scram("user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    assert scram.first() == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = (
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert scram.final(challenge).endswith("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(PostgresError):
        scram.verify("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_a_server_that_answers_with_another_nonce_is_refused() -> None:
    with pytest.raises(PostgresError, match="nonce"):
        Scram("user", "pencil", "abc").final("r=xyz,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")


def postgres(password: str) -> Callable[[socket.socket], None]:
    """A server that wants *password* by SCRAM and answers one query."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    def receive(connection: socket.socket) -> bytes:
        head = connection.recv(5)
        return connection.recv(struct.unpack("!i", head[1:])[0] - 4)

    def answer(connection: socket.socket) -> None:
        (length,) = struct.unpack("!i", connection.recv(4))
        assert b"user\0graphistry\0database\0graphistry\0" in connection.recv(length - 4)
        connection.sendall(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
        bare = receive(connection)[len(b"SCRAM-SHA-256\0") + 4 + 3 :].decode()
        nonce = bare.partition("r=")[2] + "server"
        salt = b"salt"
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i=16"
        connection.sendall(message(b"R", struct.pack("!i", 11) + challenge.encode()))
        final = receive(connection).decode()
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 16)
        key = hmac.new(salted, b"Client Key", "sha256").digest()
        text = f"{bare},{challenge},{final.partition(',p=')[0]}".encode()
        signature = hmac.new(hashlib.sha256(key).digest(), text, "sha256").digest()
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))
        if final.partition(",p=")[2] != proof.decode():
            error = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0"
            connection.sendall(message(b"E", error))
            return
        server = hmac.new(salted, b"Server Key", "sha256").digest()
        verifier = base64.b64encode(hmac.new(server, text, "sha256").digest())
        connection.sendall(message(b"R", struct.pack("!i", 12) + b"v=" + verifier))
        connection.sendall(message(b"R", struct.pack("!i", 0)) + message(b"Z", b"I"))
        assert receive(connection) == b"SHOW max_connections\0"
        connection.sendall(message(b"D", b"\0\1\0\0\0\3" + b"200") + message(b"Z", b"I"))
        connection.recv(5)

    return answer


def test_a_database_with_the_right_password_answers() -> None:
    assert max_connections("127.0.0.1", serve(postgres("right")), "right") == 200


def test_a_wrong_password_is_told_in_the_database_own_words() -> None:
    with pytest.raises(PostgresError, match="28P01 password authentication failed"):
        max_connections("127.0.0.1", serve(postgres("right")), "wrong")


def test_a_database_that_is_older_than_scram_gets_what_libpq_sends_it() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"R\0\0\0\x0c\0\0\0\x05\x01\xfe\x30\x7a")
        said = connection.recv(1000)
        # Of psql 15, for the same user, password and salt.
        is_right = said == b"p\0\0\0(md598234d46327bd3b75d14b44a5ae2a000\0"
        connection.sendall(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I" if is_right else b"")
        assert connection.recv(1000) == b"Q\0\0\0\x19SHOW max_connections\0"
        connection.sendall(b"D\0\0\0\x0c\0\x01\0\0\0\x0242" + b"Z\0\0\0\x05I")
        connection.recv(5)

    assert max_connections("127.0.0.1", serve(answer), "right") == 42


def test_redis_is_asked_after_authentication() -> None:
    seen = []

    def answer(connection: socket.socket) -> None:
        for reply in (b"+OK\r\n", b"*2\r\n$3\r\nabc\r\n:5\r\n", b"$-1\r\n", b"-ERR unknown\r\n"):
            seen.append(connection.recv(1000))
            connection.sendall(reply)

    with Redis("127.0.0.1", serve(answer), "password") as redis:
        assert redis.call("X") == ["abc", 5]
        assert redis.call("Y") is None
        with pytest.raises(RedisError, match="ERR unknown"):
            redis.call("Z")
    assert seen[0] == b"*2\r\n$4\r\nAUTH\r\n$8\r\npassword\r\n"


def test_redis_that_wants_another_password_is_an_error_without_it() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"-WRONGPASS invalid username-password pair\r\n")

    with pytest.raises(RedisError, match="WRONGPASS") as raised:
        Redis("127.0.0.1", serve(answer), "secret")
    assert "secret" not in str(raised.value)


def test_an_nfs_server_that_is_at_work_answers_the_null_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(connection: socket.socket) -> None:
        mark, *call = struct.unpack(">11I", connection.recv(44))
        assert mark == 0x80000000 + 40
        number, kind, rpc, program, version, procedure, *credentials = call
        assert (kind, rpc, program, version, procedure) == (0, 2, 100003, 4, 0)
        assert credentials == [0, 0, 0, 0]
        connection.sendall(struct.pack(">7I", 0x80000000 + 24, number, 1, 0, 0, 0, 0))

    monkeypatch.setattr(nfs, "PORT", serve(answer))
    assert nfs.answers("127.0.0.1")


def test_an_nfs_server_that_hangs_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel takes connections all the same."""
    monkeypatch.setattr("agent.machine.ports.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(nfs, "PORT", listener.getsockname()[1])
        assert ports.state("127.0.0.1", nfs.PORT) == "open"
        assert not nfs.answers("127.0.0.1")
    assert not nfs.answers("127.0.0.1")


def test_an_nfs_server_whose_name_is_not_known_is_said_to_be() -> None:
    done = nfs.mount(Nfs("/mnt/shared", "files.invalid", "/export"))
    assert mount_failure("it", done.tail()).code == "SharedFolderNameUnknown"
