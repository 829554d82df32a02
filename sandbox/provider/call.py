"""One request of the engine that takes its time: lines are shown as they come, and it may be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from .protocol import Connection

LOG_SECONDS = 5
"""Longest that the engine may take to show a line."""


@dataclass
class Call:
    """What a command needs to know of the request that started it."""

    urn: str
    engine: engine_pb2_grpc.EngineStub
    context: Connection
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the request ends or is cancelled, even if only because its engine is gone."""
    _cancelling: list[Callable[[], None]] = field(default_factory=list)

    def show(self, line: str) -> None:
        """Show a line as a status, which a terminal forgets at the next one, if there is an engine to show it."""
        message = engine_pb2.LogRequest(
            severity=engine_pb2.INFO, message=line, urn=self.urn, ephemeral=True
        )
        try:
            self.engine.Log(message, timeout=LOG_SECONDS)
        except grpc.RpcError:
            return

    def at_end(self, act: Callable[[], None]) -> None:
        """Do something when the request ends, or now if it has ended already."""
        if not self.context.add_callback(act):
            act()

    def at_cancel(self, act: Callable[[], None]) -> None:
        """Do something when the request ends or is cancelled, or now if it is already."""
        self._cancelling.append(act)
        self.at_end(act)
        if self.ended.is_set():
            act()

    def cancel(self) -> None:
        """Ctrl-C: the engine asks to stop, and waits for the answer all the same."""
        self.ended.set()
        for act in self._cancelling:
            act()


@contextmanager
def calling(urn: str, engine_address: str, context: Connection) -> Iterator[Call]:
    """The call of a request, with a connection to its engine."""
    with grpc.insecure_channel(engine_address) as channel:
        call = Call(urn, engine_pb2_grpc.EngineStub(channel), context)
        call.at_end(call.ended.set)
        yield call


def shown_outputs(logging: str | None) -> set[str]:
    """Which outputs of a command are shown: what its input `logging` says."""
    if logging in (None, "stdoutAndStderr"):
        return {"stdout", "stderr"}
    return {logging} & {"stdout", "stderr"} if logging else set()


LONGEST_LINE = 64 * 1024
"""Bytes of a line, with its end, from which on Go's bufio.Scanner reads no more: the real provider then hangs for
ever, because nobody empties the pipe that it copies the output into. It does so also if nothing is to be shown."""


def is_too_long(line: str) -> bool:
    """Whether the real provider would hang at a line."""
    return len(line.encode()) >= LONGEST_LINE


def never_ends(length: int, command: str) -> str:
    """What is said here instead of hanging."""
    return f"a line of {length} bytes, at which the real provider hangs: running {command!r}"
