"""The hosts of a stack, each over one SSH connection that a whole command shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from model.settings.hosts import FollowersOnHosts, Host, access_document
from operate.stack.rehearsed_hosts import Unlike
from operate.stack.run_command import Answer

if TYPE_CHECKING:  # or every command would import paramiko, those on AWS too
    from operate.hosts.ssh import Access, Connection, SshError

AT_ONCE = 32
"""Hosts that are talked to at the same time."""

Result = TypeVar("Result")


def access_to(settings: FollowersOnHosts, host: Host) -> Access:
    """How to reach a host of the stack file."""
    from operate.hosts.ssh import Access

    return Access.of(access_document(settings, host))


class Hosts:
    """The hosts of one stack by node; connections are made when they are first needed and kept."""

    def __init__(
        self, settings: FollowersOnHosts, unlike: Mapping[str, Unlike] | None = None
    ) -> None:
        self.settings = settings
        self.unlike = unlike or {}
        """Nodes of a rehearsal whose machine is not as the stack file has it."""
        self.access = {
            node: access_to(settings, entry.host) for node, entry in settings.nodes.items()
        }
        self._connections: dict[str, Connection] = {}
        self.failures: dict[str, SshError] = {}
        """Hosts that could not be reached; they are not tried again."""

    def connection(self, node: str) -> Connection:
        """The connection to a node's host. Raises :class:`SshError`, the same one at every call."""
        from operate.hosts.ssh import SshError, connect

        if node in self.failures:
            raise self.failures[node]
        if node not in self._connections or not self._connections[node].lives:
            try:
                self._connections[node] = connect(self.access[node])
            except SshError as error:
                self.failures[node] = error
                raise
        return self._connections[node]

    def on_each(self, nodes: Iterable[str], act: Callable[[str], Result]) -> dict[str, Result]:
        """What *act* gives for each node, side by side."""
        names = list(nodes)
        with ThreadPoolExecutor(AT_ONCE) as workers:
            return dict(zip(names, workers.map(act, names), strict=True))

    def run(
        self, nodes: Iterable[str], command: str, *, stdin: str | bytes = b"", seconds: float = 300
    ) -> dict[str, Answer]:
        """What a shell command answers on each node; a host that is not reached is an answer that failed."""
        from operate.hosts.ssh import SshError

        def ask(node: str) -> Answer:
            try:
                return self.connection(node).run(command, stdin=stdin, seconds=seconds)
            except SshError as error:
                return Answer(succeeded=False, output="", error=str(error))

        return self.on_each(nodes, ask)

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


@contextmanager
def hosts_of(settings: FollowersOnHosts, unlike: Mapping[str, Unlike]) -> Iterator[Hosts]:
    """The hosts of a stack file; their connections end with the block."""
    hosts = Hosts(settings, unlike)
    try:
        yield hosts
    finally:
        hosts.close()
