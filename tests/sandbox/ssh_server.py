"""A real SSH server on the loopback, in this process: real keys, real processes, real SFTP.

It needs nothing installed, and its connections can be cut at any moment.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko import common

ALLOWED: int = common.OPEN_SUCCEEDED


class Server:
    """A server that lets in one key, and counts who connects."""

    def __init__(self, folder: Path, key: paramiko.PKey, kinds: tuple[Any, ...]) -> None:
        self.folder, self.key = folder, key
        self.host_keys = list(kinds)
        self.connections = 0
        self.shell = ["/bin/sh", "-c"]
        """The login shell; a command is its last word."""
        self.environment = {"PATH": os.environ["PATH"]}
        self.hangs_up = 0
        """Connections that are ended at once from now on."""
        self.cut_after: int | None = None
        """Bytes that SFTP takes before the connection is cut."""
        self._transports: list[paramiko.Transport] = []
        self.listen(0)

    @property
    def host_key(self) -> str:
        """As a program pins it."""
        return f"{self.host_keys[0].get_name()} {self.host_keys[0].get_base64()}"

    def listen(self, port: int) -> None:
        """Take connections on a port of the loopback, 0 for any."""
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        """End every connection at once."""
        for transport in self._transports:
            transport.close()

    def end(self) -> None:
        self._listening.close()
        self.cut()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                self.connections += 1
                if self.hangs_up:
                    self.hangs_up -= 1
                    plain.close()
                    continue
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        transport = Transport(plain)
        for key in self.host_keys:
            transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, served=self)
        self._transports.append(transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=Session(self, transport))


class Transport(paramiko.Transport):
    """A connection that runs a command once the reply to its request is sent, as sshd does.

    Otherwise one that ends at once may close its channel before the reply, which no client understands. Paramiko has
    nothing public at that moment: the reply is what the connection's own thread sends next.
    """

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(plain)
        self.replied: list[threading.Thread] = []
        """Threads that start with the next reply."""

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]  # not in its stubs
        while self.replied and threading.current_thread() is self:
            self.replied.pop().start()


class Session(paramiko.ServerInterface):
    """What one connection may do."""

    def __init__(self, server: Server, transport: Transport) -> None:
        self.server, self.transport = server, transport

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == "ubuntu" and key == self.server.key
        return int(common.AUTH_SUCCESSFUL if right else common.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return ALLOWED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        running = threading.Thread(target=self._run, args=(channel, command), daemon=True)
        self.transport.replied.append(running)
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        try:
            target = socket.create_connection(destination, timeout=5)
        except OSError:
            return int(common.OPEN_FAILED_CONNECT_FAILED)
        threading.Thread(target=self._lead, args=(target,), daemon=True).start()
        return ALLOWED

    def _lead(self, target: socket.socket) -> None:
        found = self.transport.accept(10)
        if found is None:
            return

        def pump(source: Any, sink: Any) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(32768):
                    sink.sendall(data)
            for each in (source, sink):
                with contextlib.suppress(
                    EOFError
                ):  # the connection of a channel may have ended first
                    each.close()

        threading.Thread(target=pump, args=(found, target), daemon=True).start()
        pump(target, found)

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        process = subprocess.Popen(
            [*self.server.shell, command.decode()],
            cwd=self.server.folder,
            env=self.server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

        def pass_on(stream: Any, send: Any) -> None:
            with contextlib.suppress(OSError, EOFError):  # the client may be gone
                while data := os.read(stream.fileno(), 32768):
                    send(data)

        def feed() -> None:
            with contextlib.suppress(OSError), process.stdin:  # type: ignore[union-attr]
                while data := channel.recv(32768):
                    process.stdin.write(data)  # type: ignore[union-attr]
                    process.stdin.flush()  # type: ignore[union-attr]

        def watch() -> None:
            """Like sshd: a connection that is gone takes its session along."""
            while process.poll() is None and not channel.closed:
                threading.Event().wait(0.05)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)

        threads = [
            threading.Thread(target=pass_on, args=(process.stdout, channel.sendall)),
            threading.Thread(target=pass_on, args=(process.stderr, channel.sendall_stderr)),
        ]
        for thread in threads:
            thread.start()
        threading.Thread(target=feed, daemon=True).start()
        threading.Thread(target=watch, daemon=True).start()
        status = process.wait()
        for thread in threads:
            thread.join()
        with contextlib.suppress(OSError, EOFError):
            if status >= 0:
                channel.send_exit_status(status)
            channel.close()


class Files(paramiko.SFTPServerInterface):
    """As much of SFTP as a copy needs, in the server's folder."""

    def __init__(self, session: Session, *_: Any, served: Server) -> None:
        super().__init__(session)
        self.served = served

    def _path(self, path: str) -> Path:
        return self.served.folder / path.lstrip("/")

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            descriptor = os.open(self._path(path), flags, 0o644)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = Handle(flags)
        handle.served = self.served
        handle.writefile = os.fdopen(descriptor, "wb", buffering=0)  # type: ignore[attr-defined]
        return handle


class Handle(paramiko.SFTPHandle):
    """An open file, of which not all may arrive."""

    served: Server

    def write(self, offset: int, data: Any) -> int:
        left = self.served.cut_after
        if left is not None and offset + len(data) > left:
            self.served.cut()
        return super().write(offset, data)


def text_of(key: paramiko.PKey) -> str:
    """A private key as a program gives it."""
    written = io.StringIO()
    key.write_private_key(written)
    return written.getvalue()


@contextlib.contextmanager
def serving(folder: Path, key: paramiko.PKey, *host_keys: paramiko.PKey) -> Iterator[Server]:
    """A server for as long as it is used."""
    server = Server(folder, key, host_keys)
    yield server
    server.end()
