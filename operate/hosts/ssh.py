"""Commands on a host over SSH, whose host key must be the one that the stack file names."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paramiko

from model.settings.checks import HOST_KEY_TYPES
from operate.hosts.remote_shell import BEGIN, END, answer, noise, under_sh
from operate.stack.run_command import Answer

CONNECT_SECONDS = 10
"""Longest wait for a host to answer, for each step of signing in."""

COMMAND_SECONDS = 300
"""Longest wait for a command."""

HUNG_UP_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before another try at a host that hangs up: every resource signs in by itself, many through one bastion."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())
"""Its threads would print tracebacks of what is told as an :class:`SshError`."""

KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class SshError(Exception):
    """A host that cannot be used; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class HungUpError(SshError):
    """A host that ends a connection at once, as an SSH server does while many sign in (sshd_config: MaxStartups)."""


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
        self,
        script: str,
        *,
        stdin: str | bytes | Iterable[bytes] = b"",
        seconds: float = COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> Answer:
        """Run *script* in sh as the user; never raises for its status.

        *show* gets the lines of its output as they come. *seconds* is the longest silence. Raises :class:`SshError` if
        the connection ends, or the user's login shell does not run commands.
        """
        output: list[bytes] = []
        errors: list[bytes] = []
        try:
            channel = self._begun(script, seconds)
            with ThreadPoolExecutor(2) as aside:
                said = aside.submit(errors.extend, channel.makefile_stderr("rb"))
                aside.submit(_feed, channel, stdin)
                for line in channel.makefile("rb"):
                    output.append(line)
                    if show and (text := _own(output)):
                        show(text)
                said.result()
            status = channel.recv_exit_status()
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise SshError(
                f"the connection was lost: {problem}", "the same command again goes on"
            ) from problem
        printed, complained = (_text(lines) for lines in (output, errors))
        own = answer(printed)
        if own is None and printed + complained:
            raise self._no_shell(complained or printed)
        if own is None or (status == -1 and END not in printed):
            raise SshError("the connection was lost: the host ended it", "the same command goes on")
        return Answer(
            succeeded=status == 0,
            output=own,
            error=answer(complained) or "",
            noise=noise(printed),
        )

    @contextmanager
    def started(self, script: str, *, stdin: bytes = b"") -> Iterator[None]:
        """A script that runs while the block does: begun once it has printed a line, ended with its input."""
        try:
            channel = self._begun(script, CONNECT_SECONDS)
            channel.sendall(stdin)
            lines = iter(channel.makefile("r"))
            while next(lines, BEGIN).rstrip("\n") != BEGIN:
                continue
            next(lines, "")
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise SshError(f"the connection was lost: {problem}", "try again") from problem
        try:
            yield
        finally:
            channel.close()

    def _begun(self, script: str, seconds: float) -> paramiko.Channel:
        channel = self._transport.open_session(timeout=CONNECT_SECONDS)
        channel.settimeout(seconds)
        channel.exec_command(under_sh(script))
        return channel

    def _no_shell(self, said: str) -> SshError:
        user, last = self._transport.get_username(), (said.strip().splitlines() or [""])[-1]
        return SshError(
            f"the login shell of {user} runs no commands: {last}",
            f"give {user} a shell on the host, `sudo chsh -s /bin/bash {user}`, or name another user; a forced command "
            "in authorized_keys or sshd_config has the same effect",
        )

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
    """A connection that the caller closes, tried again if the host hangs up at once. Raises :class:`SshError`."""
    for pause in HUNG_UP_PAUSES:
        try:
            return _connect(access)
        except HungUpError:
            # Not all at the same moment once more.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 no secret
    return _connect(access)


def _connect(access: Access) -> Connection:
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
        transport.get_security_options().key_types = types
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
                "take it first: `./cluster host-keys STACK`, for a bastion `./cluster host-keys STACK ssh.bastion`",
            )
        kind = access.host_key.split()[0]
        # Of several keys the host shows the one that is known.
        transport.get_security_options().key_types = (kind,)
        key = _handshake(transport, access)
        if key.split()[:2] != access.host_key.split()[:2]:
            raise HostKeyError(
                f"the host answers with the key {fingerprint(key)}, the stack file names "
                f"{fingerprint(access.host_key)}",
                "somebody may be between you and it; if the host was installed anew, `./cluster host-keys STACK "
                "NODE` shows and takes its new key",
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
    begun = time.monotonic()
    try:
        # Each of its steps has an end of its own; one for all of them would pass in silence.
        transport.start_client()
        return _key_text(transport.get_remote_server_key())
    except paramiko.ssh_exception.IncompatiblePeer as problem:
        raise HostKeyError(
            f"the host has no key of the type that is wanted: {problem}",
            "`./cluster host-keys STACK NODE` takes a key that it has; `sudo ssh-keygen -A` on the host "
            f"makes those that are missing ({', '.join(HOST_KEY_TYPES)})",
        ) from problem
    except (paramiko.SSHException, EOFError, OSError) as problem:
        hung_up = time.monotonic() - begun < CONNECT_SECONDS / 2
        raise (HungUpError if hung_up else SshError)(
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


def _feed(channel: paramiko.Channel, content: str | bytes | Iterable[bytes]) -> None:
    """Write a command's input; one that ends without reading it is no error."""
    whole = content.encode() if isinstance(content, str) else content
    try:
        for part in [whole] if isinstance(whole, bytes) else whole:
            channel.sendall(part)
        channel.shutdown_write()
    except OSError:
        return


def _text(lines: list[bytes]) -> str:
    return b"".join(lines).decode(errors="replace")


def _own(output: list[bytes]) -> str:
    """The last line if it is the script's own, without its end; empty if it is not."""
    if f"{BEGIN}\n".encode() not in output[:-1]:
        return ""
    return output[-1].decode(errors="replace").rstrip("\n").removesuffix(END)
