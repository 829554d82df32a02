"""The stand-in for Pulumi's `command` provider: `command:local:Command`, with real processes.

Like the real one it shows every line that a command prints as it comes, replaces the resource when a
trigger changes, and fails with what the command wrote on standard error.
"""

# ruff: noqa: N802 - the protocol names the methods

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf import empty_pb2
from pulumi import _types as sdk
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
)
from pulumi_command import local

from . import schema
from .protocol import (
    NO_CHANGE,
    Connection,
    Problem,
    answering,
    check_failures,
    property_diff,
    token_of,
)
from .values import UNKNOWN, Properties, RefusalError, from_wire, to_wire

COMMAND = "command:local:Command"
PROJECT = Path(__file__).resolve().parents[2]
MODELLED = {"create", "dir", "environment", "triggers"}
"""Inputs that are carried out; any other is refused."""
MOST_COMMANDS = 128
"""Commands that run at the same time: a cluster waits for all of its nodes at once."""


class CommandProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider `command`; commands see `environment` beside what their inputs say."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._engines: dict[str, str] = {}

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Connection
    ) -> provider_pb2.ProviderHandshakeResponse:
        self._engines[context.peer()] = request.engine_address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: Connection) -> empty_pb2.Empty:
        self._engines[context.peer()] = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Connection) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-command"))

    def Cancel(self, request: empty_pb2.Empty, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=NO_CHANGE)

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Connection
    ) -> provider_pb2.ConfigureResponse:
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answering
    def Check(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        if token_of(request) != COMMAND:
            raise RefusalError(f"the sandbox models {COMMAND} alone, not {token_of(request)}")
        found = check_failures(list(problems(from_wire(request.news)[0])))
        return provider_pb2.CheckResponse(inputs=request.news, failures=found)

    @answering
    def Diff(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        (old, _), (new, _) = from_wire(request.old_inputs), from_wire(request.news)
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        replaces = ["triggers"] if "triggers" in changed else []
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else NO_CHANGE,
            diffs=changed,
            replaces=replaces,
            detailedDiff={
                name: property_diff(name, "update", replacing=name in replaces) for name in changed
            },
            hasDetailedDiff=True,
        )

    @answering
    def Create(
        self, request: provider_pb2.CreateRequest, context: Connection
    ) -> provider_pb2.CreateResponse:
        inputs, secrets = from_wire(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_wire(planned(inputs), secrets))
        state = self._run(inputs, request.urn, context)
        return provider_pb2.CreateResponse(
            id=f"{os.getpid()}-{request.urn}", properties=to_wire(state, secrets)
        )

    @answering
    def Read(
        self, request: provider_pb2.ReadRequest, context: Connection
    ) -> provider_pb2.ReadResponse:
        return provider_pb2.ReadResponse(
            id=request.id, inputs=request.inputs, properties=request.properties
        )

    @answering
    def Update(
        self, request: provider_pb2.UpdateRequest, context: Connection
    ) -> provider_pb2.UpdateResponse:
        inputs, secrets = from_wire(request.news)
        state = planned(inputs) if request.preview else self._run(inputs, request.urn, context)
        return provider_pb2.UpdateResponse(properties=to_wire(state, secrets))

    def Delete(self, request: provider_pb2.DeleteRequest, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def _run(self, inputs: Properties, urn: str, context: Connection) -> Properties:
        """Run the command to its end; it is ended when the engine that asked is gone."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", inputs["create"]],
            cwd=PROJECT / inputs.get("dir", "."),
            env={**os.environ, **self._environment, **inputs.get("environment", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        context.add_callback(lambda: end(process))
        printed: dict[str, list[str]] = {"stdout": [], "stderr": []}
        with grpc.insecure_channel(self._engines.get(context.peer(), "")) as channel:
            engine = engine_pb2_grpc.EngineStub(channel)
            readers = [
                threading.Thread(target=follow, args=(stream, printed[name], engine, urn))
                for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
            ]
            for reader in readers:
                reader.start()
            status = process.wait()
            for reader in readers:
                reader.join()
        if status:
            said = "\n".join(printed["stderr"] or printed["stdout"])
            raise RefusalError(f'exit status {status}: running "{inputs["create"]}":\n{said}')
        return {**inputs, **{name: "\n".join(lines) for name, lines in printed.items()}}


def problems(inputs: Properties) -> Iterator[Problem]:
    """Everything that is wrong with the inputs of a command."""
    kinds = signature()
    if "create" not in inputs:
        yield "create", f"is missing and {COMMAND} needs it"
    for name, value in inputs.items():
        if name not in MODELLED:
            yield name, f"the sandbox does not model this input; it models {', '.join(MODELLED)}"
        else:
            yield from schema.problems(value, kinds[name], name)


@cache
def signature() -> Mapping[str, Any]:
    """The inputs that the SDK knows, with their types."""
    return sdk.input_type_types(local.command.CommandArgs)


def planned(inputs: Properties) -> Properties:
    """What a preview knows of the outputs."""
    return {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}


def follow(
    stream: IO[str] | None, lines: list[str], engine: engine_pb2_grpc.EngineStub, urn: str
) -> None:
    """Keep every line and show it, as long as there is an engine to show it."""
    for line in stream or ():
        lines.append(line.rstrip("\n"))
        message = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=lines[-1], urn=urn)
        try:
            engine.Log(message, timeout=5)
        except grpc.RpcError:
            continue


def end(process: subprocess.Popen[str]) -> None:
    """End a command and all it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)


def serve(environment: Mapping[str, str]) -> tuple[grpc.Server, int]:
    """A running server of the provider on the loopback, and its port."""
    server = grpc.server(
        ThreadPoolExecutor(max_workers=MOST_COMMANDS), options=[("grpc.so_reuseport", 0)]
    )
    provider = CommandProvider(environment)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
