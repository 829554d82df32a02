"""The engine's side of the `command` provider's protocol: one that shows lines, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2_grpc

from sandbox.provider import command


@dataclass
class Shown(engine_pb2_grpc.EngineServicer):
    """The part of Pulumi's engine that shows lines."""

    lines: list[str] = field(default_factory=list)
    ephemeral: list[bool] = field(default_factory=list)

    def Log(self, request: engine_pb2.LogRequest, context: Any) -> Any:  # noqa: N802 the protocol's name
        self.lines.append(request.message)
        self.ephemeral.append(request.ephemeral)
        return empty_pb2.Empty()


@contextmanager
def attached(
    shown: Shown, environment: dict[str, str]
) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """A running provider that such an engine is attached to."""
    engine = grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(shown, engine)
    engine_port = engine.add_insecure_port("127.0.0.1:0")
    engine.start()
    server, port = command.serve(environment)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Attach(plugin_pb2.PluginAttach(address=f"127.0.0.1:{engine_port}"))
        yield stub
    server.stop(None)
    engine.stop(None)
