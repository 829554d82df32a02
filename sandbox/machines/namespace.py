"""A network namespace of the sandbox's own, in which no address can meet one of this computer."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

from .commands import run

_NETWORK = 0x40000000  # CLONE_NEWNET


def path(name: str) -> Path:
    """Where the kernel keeps a named namespace."""
    return Path("/run/netns", name)


def create(name: str) -> None:
    """Make a namespace that holds nothing but its loopback."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def remove(name: str) -> None:
    """Remove a namespace, and with it every network in it, where it is there."""
    if path(name).exists():
        run(["ip", "netns", "delete", name])


def listen(name: str, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A socket that is bound inside a namespace, for use outside of it. Port 0 is any free one."""
    bound = unbound(name, kind)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        if kind is socket.SOCK_STREAM:
            bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


def unbound(name: str, kind: socket.SocketKind) -> socket.socket:
    """A socket inside a namespace, for use outside of it.

    A socket stays where it was made, so a thread of its own goes there, makes it and ends.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            _enter(name)
            made.append(socket.socket(socket.AF_INET, kind))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(name: str) -> None:
    """Move the calling thread; Python has no os.setns before 3.12."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path(name), os.O_RDONLY)
    try:
        if library.setns(descriptor, _NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, f"setns {name}: {os.strerror(number)}")
    finally:
        os.close(descriptor)
