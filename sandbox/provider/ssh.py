"""SSH as Pulumi's `command` provider does it: its retries, its checks and its words."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import paramiko
from paramiko.agent import AgentSSH

from .call import Call
from .values import Properties, RefusalError

DIAL_ERROR_LIMIT, PER_DIAL_SECONDS = 10, 15
"""What is used where a connection says nothing."""
HANDSHAKE_SECONDS = 30
"""The real one waits for ever; a test must not."""
FIRST_PAUSE, BACKOFF, LONGEST_PAUSE = 0.1, 1.5, 5.0
"""Seconds between two attempts to dial, and how they grow."""
UNPINNED = (
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "ssh-ed25519",
)
"""Algorithms that Go's client asks for if no key is pinned, in its order (x/crypto/ssh, defaultHostKeyAlgos); the
server signs with the first that it has. With a pinned key the provider asks for the type of that key and no other."""
SHA1 = "ssh-rsa"
"""The type of an RSA key, and of its signatures the one with SHA-1, which OpenSSH has offered no more since 8.8."""
_KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 9}  # as Go has

Found = TypeVar("Found")


class DialError(Exception):
    """One attempt failed; another may not."""


@contextmanager
def connected(connection: Properties, call: Call) -> Iterator[paramiko.Transport]:
    """A connection that ends with its engine. Raises RefusalError when the last attempt failed."""
    opened: list[paramiko.Transport] = []
    call.at_end(lambda: _close(opened))
    try:
        yield _through_proxy(connection, call, opened)
    finally:
        _close(opened)


def _through_proxy(
    connection: Properties, call: Call, opened: list[paramiko.Transport]
) -> paramiko.Transport:
    proxy, signers = connection.get("proxy"), _signers(connection)
    if proxy is None:
        return _retried("Dial", connection, call, lambda: _dial(connection, signers, opened))
    try:
        proxys = _signers(proxy)
        bastion = _retried("Dial proxy", proxy, call, lambda: _dial(proxy, proxys, opened))
        host, port = _endpoint(connection)

        def open_channel() -> paramiko.Channel:
            try:
                return bastion.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0))
            except paramiko.SSHException as error:
                raise DialError(f"ssh: rejected: connect failed ({error})") from error

        channel = _retried("Dial from proxy", connection, call, open_channel)
        return _retried(
            "Dial", connection, call, lambda: _handshake(channel, connection, signers, opened)
        )
    except RefusalError as error:
        raise RefusalError(f"proxy: {error}") from error


def _retried(what: str, connection: Properties, call: Call, attempt: Callable[[], Found]) -> Found:
    limit = connection.get("dialErrorLimit", DIAL_ERROR_LIMIT)
    pause, failures = FIRST_PAUSE, 0
    while True:
        try:
            return attempt()
        except DialError as error:
            failures += 1
            if -1 < limit < failures:
                raise RefusalError(f"after {limit} failed attempts: {error}") from error
        call.show(f"{what} {failures}/{'inf' if limit == -1 else limit} failed: retrying")
        if call.ended.wait(pause):
            raise RefusalError("context canceled")
        pause = min(pause * BACKOFF, LONGEST_PAUSE)


def _dial(
    connection: Properties, signers: list[Any], opened: list[paramiko.Transport]
) -> paramiko.Transport:
    host, port = _endpoint(connection)
    seconds = connection.get("perDialTimeout", PER_DIAL_SECONDS) or None
    try:
        plain = socket.create_connection((host, port), timeout=seconds)
    except TimeoutError as error:
        raise DialError(f"dial tcp {host}:{port}: i/o timeout") from error
    except socket.gaierror as error:
        raise DialError(f"dial tcp: lookup {host}: no such host") from error
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise DialError(f"dial tcp {host}:{port}: connect: {reason}") from error
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        plain.setsockopt(socket.IPPROTO_TCP, option, value)
    return _handshake(plain, connection, signers, opened)


def _handshake(
    plain: socket.socket | paramiko.Channel,
    connection: Properties,
    signers: list[Any],
    opened: list[paramiko.Transport],
) -> paramiko.Transport:
    expected = connection.get("hostKey")
    if expected and len(expected.split()) < 2:
        raise RefusalError("failed to parse host key: ssh: no key found")
    transport = paramiko.Transport(plain)
    transport.banner_timeout = HANDSHAKE_SECONDS
    kind = expected.split()[0] if expected else None
    if kind != SHA1:  # which paramiko may not know any more
        transport.get_security_options().key_types = (kind,) if kind else UNPINNED
    opened.append(transport)
    try:
        if kind == SHA1:
            raise DialError(
                "ssh: handshake failed: ssh: no common algorithm for host key; client offered: [ssh-rsa]"
            )
        transport.start_client(timeout=HANDSHAKE_SECONDS)
        key = transport.get_remote_server_key()
        if expected and expected.split()[:2] != [key.get_name(), key.get_base64()]:
            raise DialError("ssh: handshake failed: ssh: host key mismatch")
        _authenticate(transport, connection, signers)
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        raise DialError(f"ssh: handshake failed: {str(error) or 'EOF'}") from error
    except DialError:
        transport.close()
        raise
    return transport


def _authenticate(
    transport: paramiko.Transport, connection: Properties, signers: list[Any]
) -> None:
    user = connection.get("user", "root")
    for each in signers:
        try:
            transport.auth_publickey(user, each)
        except paramiko.AuthenticationException:
            continue
        return
    methods = "none publickey" if signers else "none"
    raise DialError(
        f"ssh: handshake failed: ssh: unable to authenticate, attempted methods [{methods}], no"
        " supported methods remain"
    )


def _signers(connection: Properties) -> list[Any]:
    """The keys to sign in with: a connection's own, else the agent's.

    The agent is asked even if there is a key, and one that does not answer is fatal. Go's client then tries the first
    way of the method publickey only, which is the key.
    """
    signer, of_agent = _signer(connection), _of_agent(connection)
    return [signer] if signer else of_agent


def _signer(connection: Properties) -> paramiko.PKey | None:
    """The private key of a connection; a wrong one is no reason to dial."""
    text = connection.get("privateKey")
    if not text:
        return None
    password = connection.get("privateKeyPassword")
    kinds = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            key: paramiko.PKey = kind.from_private_key(io.StringIO(text), password)
            return key
        except paramiko.PasswordRequiredException as error:
            raise RefusalError("ssh: this private key is passphrase protected") from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise RefusalError("ssh: no key found")


def _of_agent(connection: Properties) -> list[Any]:
    """The keys of the agent at a socket, by default of the one that the sandbox was started with."""
    path = connection.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return []
    agent: Any = AgentSSH()
    reached = socket.socket(socket.AF_UNIX)
    try:
        reached.connect(path)
        agent._connect(reached)  # its public way in knows the variable alone
    except (OSError, paramiko.SSHException) as error:
        reason = os.strerror(getattr(error, "errno", None) or 0).lower()
        raise RefusalError(f"dial unix {path}: connect: {reason}") from error
    return list(agent.get_keys())


def _endpoint(connection: Properties) -> tuple[str, int]:
    return connection["host"], int(connection.get("port", 22))


def _close(opened: list[paramiko.Transport]) -> None:
    """What goes through another comes first."""
    for transport in reversed(opened):
        transport.close()
