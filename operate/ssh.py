"""Commands on a host over SSH, whose host key must be the one that the stack file names."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paramiko

from model.checks import HOST_KEY_TYPES
from operate.run_command import Answer

CONNECT_SECONDS = 10
"""Longest wait for a host to answer, for each step of signing in."""

COMMAND_SECONDS = 300
"""Longest wait for a command."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())
"""Its threads would print tracebacks of what is told as an :class:`SshError`."""

KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""Type of a host key to the algorithms that sign with it, where their names differ."""


class SshError(Exception):
    """A host that cannot be used; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class HostKeyError(SshError):
    """A host that answers with another key than the stack file names."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach one host; made by ``components.hosts.connection``."""

    address: str
    port: int
    user: str
    host_key: str
    private_key: str | None = None
    """OpenSSH or PEM text; without it the SSH agent is asked."""
    bastion: Access | None = None

    @staticmethod
    def read(text: str) -> Access:
        """The access in *text*, a JSON object."""
        return Access.of(json.loads(text))

    @staticmethod
    def of(document: Mapping[str, Any]) -> Access:
        """The access that *document* describes; the bastion takes the same private key."""
        bastion = document.get("bastion")
        key = document.get("privateKey")
        return Access(
            address=document["address"],
            port=document["port"],
            user=document["user"],
            host_key=document["hostKey"],
            private_key=key,
            bastion=Access.of({**bastion, "privateKey": key}) if bastion else None,
        )

    @property
    def named(self) -> str:
        """As a person writes it."""
        port = "" if self.port == 22 else f":{self.port}"
        return f"{self.user}@{self.address}{port}"


class Connection:
    """One SSH connection, for any number of commands. Use :func:`connected`, which ends it."""

    def __init__(self, transport: paramiko.Transport, below: Connection | None = None) -> None:
        self._transport, self._below = transport, below

    def run(
        self, command: str, *, stdin: str | bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> Answer:
        """Run a shell command as the user; never raises for its status, :class:`SshError` where SSH itself ends."""
        content = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            channel = self._transport.open_session(timeout=CONNECT_SECONDS)
            channel.settimeout(seconds)
            channel.exec_command(command)
            errors = channel.makefile_stderr("rb")
            with ThreadPoolExecutor(2) as aside:
                said = aside.submit(errors.read)
                aside.submit(_feed, channel, content)
                output = channel.makefile("rb").read()
                error = said.result()
            status = channel.recv_exit_status()
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise SshError(
                f"the connection was lost: {problem}", "the same command again goes on"
            ) from problem
        return Answer(
            succeeded=status == 0,
            output=output.decode(errors="replace"),
            error=error.decode(errors="replace"),
        )

    @contextmanager
    def started(self, command: str) -> Iterator[None]:
        """A command that runs while the block does: begun once it has printed a line, ended with its input."""
        try:
            channel = self._transport.open_session(timeout=CONNECT_SECONDS)
            channel.settimeout(CONNECT_SECONDS)
            channel.exec_command(command)
            channel.makefile("r").readline()
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise SshError(f"the connection was lost: {problem}", "try again") from problem
        try:
            yield
        finally:
            channel.close()

    def channel_to(self, address: str, port: int) -> paramiko.Channel:
        """A way through this host to another."""
        return self._transport.open_channel(
            "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=CONNECT_SECONDS
        )

    @property
    def lives(self) -> bool:
        """Whether it is still open."""
        return bool(self._transport.is_active())

    def close(self) -> None:
        """End it, and what it goes through."""
        self._transport.close()
        if self._below is not None:
            self._below.close()


@contextmanager
def connected(access: Access) -> Iterator[Connection]:
    """A connection to a host. Raises :class:`SshError`, with the host's key :class:`HostKeyError`."""
    connection = connect(access)
    try:
        yield connection
    finally:
        connection.close()


def connect(access: Access) -> Connection:
    """A connection that the caller closes. Raises :class:`SshError`."""
    below = connect(access.bastion) if access.bastion else None
    try:
        transport = _transport(access, below)
    except BaseException:
        if below is not None:
            below.close()
        raise
    return Connection(transport, below)


def presented_key(access: Access) -> str:
    """The public key that a host answers with, whatever it is: of the type that is known, or the first of those that
    are wanted. Raises :class:`SshError`."""
    below = connect(access.bastion) if access.bastion else None
    transport = paramiko.Transport(_socket(access, below))
    try:
        known = access.host_key.partition(" ")[0]
        types = sorted(HOST_KEY_TYPES, key=lambda each: each != known)
        transport.get_security_options().key_types = [
            name for each in types for name in SIGNATURES.get(each, (each,))
        ]
        return _handshake(transport, access)
    finally:
        transport.close()
        if below is not None:
            below.close()


def _transport(access: Access, below: Connection | None) -> paramiko.Transport:
    transport = paramiko.Transport(_socket(access, below))
    try:
        if not access.host_key:
            raise HostKeyError(
                f"the stack file names no key of {access.named}",
                "take it first: `make host-keys STACK=name`, for a bastion with NODE=ssh.bastion",
            )
        kind = access.host_key.split()[0]
        # Of several keys the host shows the one that is known.
        transport.get_security_options().key_types = SIGNATURES.get(kind, (kind,))
        key = _handshake(transport, access)
        if key.split()[:2] != access.host_key.split()[:2]:
            raise HostKeyError(
                f"the host answers with the key {fingerprint(key)}, the stack file names "
                f"{fingerprint(access.host_key)}",
                "somebody may be between you and it; if the host was installed anew, `make host-keys STACK=name "
                "NODE=name` shows and takes its new key",
            )
        _sign_in(transport, access)
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(15)
    return transport


def _socket(access: Access, below: Connection | None) -> Any:
    try:
        if below is not None:
            return below.channel_to(access.address, access.port)
        return socket.create_connection((access.address, access.port), timeout=CONNECT_SECONDS)
    except (OSError, paramiko.SSHException) as problem:
        raise SshError(
            f"{access.address}:{access.port} does not answer: {problem}",
            f"check the address, that the host is up, and that port {access.port} is open to this computer",
        ) from problem


def _handshake(transport: paramiko.Transport, access: Access) -> str:
    """The key that the host answers with."""
    transport.banner_timeout = transport.handshake_timeout = CONNECT_SECONDS
    try:
        # Each of its steps has an end of its own; one for all of them would pass in silence.
        transport.start_client()
        return _key_text(transport.get_remote_server_key())
    except paramiko.ssh_exception.IncompatiblePeer as problem:
        raise HostKeyError(
            f"the host has no key of the type that the stack file names: {problem}",
            "`make host-keys STACK=name NODE=name` takes a key that it has",
        ) from problem
    except (paramiko.SSHException, EOFError, OSError) as problem:
        raise SshError(
            f"what answers at {access.address}:{access.port} does not speak SSH: {problem}",
            "check address and port",
        ) from problem


def _sign_in(transport: paramiko.Transport, access: Access) -> None:
    keys = _keys(access)
    for key in keys:
        try:
            transport.auth_publickey(access.user, key)
        except paramiko.AuthenticationException:
            continue
        except (paramiko.SSHException, EOFError, OSError) as problem:
            raise SshError(
                f"signing in failed: {problem}", "read the host's log of SSH"
            ) from problem
        return
    tried = (
        "the key of the stack file"
        if access.private_key
        else f"any of {len(keys)} keys of the SSH agent"
    )
    mended = "write the right one" if access.private_key else "load the right one: `ssh-add`"
    if not keys:
        mended = (
            'start an SSH agent that has it: eval "$(ssh-agent)" && ssh-add, or set sshPrivateKey'
        )
    raise SshError(
        f"the host does not let {access.user} in with {tried}",
        f"look whether this is the right user; add your public key to ~{access.user}/.ssh/authorized_keys on the host, "
        f"or {mended}",
    )


def _keys(access: Access) -> list[paramiko.PKey]:
    if access.private_key is None:
        return list(paramiko.Agent().get_keys())
    for kind in KEY_KINDS:
        try:
            return [kind.from_private_key(io.StringIO(access.private_key))]
        except (paramiko.SSHException, ValueError):
            continue
    raise SshError(
        "sshPrivateKey is no private key that can be read",
        "a key without passphrase of the type ed25519, ecdsa or rsa; with a passphrase use the SSH agent",
    )


def _key_text(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def fingerprint(host_key: str) -> str:
    """As `ssh-keygen -l` shows it."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _feed(channel: paramiko.Channel, content: bytes) -> None:
    """Write a command's input; one that ends without reading it is no error."""
    try:
        channel.sendall(content)
        channel.shutdown_write()
    except OSError:
        return
