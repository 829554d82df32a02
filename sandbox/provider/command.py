"""The stand-in for Pulumi's `command` provider, with real processes.

Like the real one it shows every line that a command prints as a status, which a terminal forgets, replaces the resource
when a trigger changes, and fails with what the command wrote. What a command prints is plain in the state, even if the
command itself is secret, unless the program names the output in additionalSecretOutputs.
"""

# ruff: noqa: N802 - the protocol names the methods

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi import _types as sdk
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi_command import local

from . import local_command, protocol, schema
from .call import Call, calling
from .protocol import (
    NO_CHANGE,
    Connection,
    Problem,
    answering,
    changed_names,
    check_failures,
    difference,
    token_of,
)
from .values import UNKNOWN, Properties, RefusalError, from_wire, is_asset, to_wire

COMMAND = "command:local:Command"
MOST_COMMANDS = 128
"""Commands that run at the same time: a cluster waits for all of its nodes at once."""


class CommandProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider `command`; commands see `environment` beside what their inputs say."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._engines: dict[str, str] = {}
        self._calls: dict[str, list[Call]] = {}
        """What runs for each connection."""

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
        for call in list(self._calls.get(context.peer(), ())):
            call.cancel()
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
        token = token_of(request)
        if token != COMMAND:
            raise RefusalError(f"the sandbox models {COMMAND}, not {token}")
        found = check_failures(list(problems(from_wire(request.news)[0])))
        return provider_pb2.CheckResponse(inputs=request.news, failures=found)

    @answering
    def Diff(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        (old, _), (new, _) = from_wire(request.old_inputs), from_wire(request.news)
        changed = changed_names(_plain(old), _plain(new))
        replaces = ["triggers"] if "triggers" in changed else []
        return difference(changed, replaces)

    @answering
    def Create(
        self, request: provider_pb2.CreateRequest, context: Connection
    ) -> provider_pb2.CreateResponse:
        inputs, secrets = from_wire(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_wire(planned(inputs), secrets))
        with self._calling(request, context) as call:
            state = self._run(inputs.get("create"), inputs, {}, call)
        return provider_pb2.CreateResponse(
            id=f"{os.getpid()}-{request.urn}", properties=stored(state, secrets)
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
        olds, _ = from_wire(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=to_wire(planned(inputs), secrets))
        with self._calling(request, context) as call:
            command = inputs.get("update", inputs.get("create"))
            state = self._run(command, inputs, olds, call)
        return provider_pb2.UpdateResponse(properties=stored(state, secrets))

    @answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: Connection) -> empty_pb2.Empty:
        """With what the resource was made or last changed with, be it out of date."""
        state, _ = from_wire(request.properties)
        if "delete" in state:
            with self._calling(request, context) as call:
                self._run(state["delete"], state, state, call)
        return empty_pb2.Empty()

    @contextmanager
    def _calling(self, request: Any, context: Connection) -> Iterator[Call]:
        peer = context.peer()
        running = self._calls.setdefault(peer, [])
        with calling(request.urn, self._engines.get(peer, ""), context) as call:
            running.append(call)
            try:
                yield call
            finally:
                running.remove(call)

    def _run(
        self, command: str | None, inputs: Properties, previous: Properties, call: Call
    ) -> Properties:
        """Run one of the commands of a resource, if there is one; the state afterwards."""
        printed = {name: previous.get(name, "") for name in ("stdout", "stderr")}
        if command is not None:
            printed = local_command.run(command, inputs, previous, call, self._environment)
        return {**inputs, **printed}


def problems(inputs: Properties) -> Iterator[Problem]:
    """Everything that is wrong with the inputs of a command."""
    kinds = sdk.input_type_types(local.CommandArgs)
    if not {"create", "delete"} & inputs.keys():
        yield "create", f"is missing and so is delete: {COMMAND} would do nothing"
    for name, value in inputs.items():
        if name not in local_command.MODELLED:
            listed = ", ".join(sorted(local_command.MODELLED))
            yield name, f"the sandbox does not model this input; it models {listed}"
        else:
            yield from schema.problems(value, kinds[name], name)


def planned(inputs: Properties) -> Properties:
    """What a preview knows of the outputs."""
    return {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}


def stored(state: Properties, secrets: list[Any]) -> struct_pb2.Struct:
    """The state on the wire: of the inputs what was secret is, and of what was printed nothing."""
    printed = {name: state[name] for name in ("stdout", "stderr") if name in state}
    wired = to_wire({name: state[name] for name in state.keys() - printed.keys()}, secrets)
    wired.update(printed)
    return wired


def _plain(inputs: Properties) -> Properties:
    """Inputs as far as a change of them matters: a file is what it contains."""
    return {name: value.get("hash") if is_asset(value) else value for name, value in inputs.items()}


def serve(environment: Mapping[str, str]) -> tuple[grpc.Server, int]:
    """A running server of the provider on the loopback, and its port."""
    return protocol.serve(CommandProvider(environment), MOST_COMMANDS)
