"""The stand-in for Pulumi's `docker` provider: real containers in the Docker of each of the sandbox's hosts.

A provider is for one host, which it reaches over SSH when it is configured, like the real one.
"""

# ruff: noqa: N802 - the protocol names the methods

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import grpc
import pulumi_docker
from google.protobuf import empty_pb2
from pulumi import _types as sdk
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from ..machines import private_docker
from . import docker_containers, docker_host, docker_images, protocol, schema
from .docker_host import Access
from .protocol import (
    Connection,
    Problem,
    answering,
    changed_names,
    check_failures,
    configuration_diff,
    difference,
    settings_of,
    token_of,
    unfinished,
)
from .values import UNKNOWN, Properties, RefusalError, from_wire, to_wire

IMAGE = "docker:index/remoteImage:RemoteImage"
VOLUME = "docker:index/volume:Volume"
CONTAINER = "docker:index/container:Container"
MODELLED: dict[str, dict[str, set[str]]] = {
    IMAGE: {"name": set(), "keepLocally": set()},
    VOLUME: {"name": set()},
    CONTAINER: {
        "command": set(),
        "destroyGraceSeconds": set(),
        "entrypoints": set(),
        "envs": set(),
        "healthcheck": {"interval", "retries", "startPeriod", "tests", "timeout"},
        "image": set(),
        "mustRun": set(),
        "name": set(),
        "ports": {"external", "internal", "ip", "protocol"},
        "restart": set(),
        "user": set(),
        "volumes": {"containerPath", "hostPath", "readOnly", "volumeName"},
        "wait": set(),
        "waitTimeout": set(),
    },
}
"""Type -> input -> what is modelled inside of it, where it is an object."""
_CLASSES: dict[str, tuple[Any, Any]] = {
    IMAGE: (pulumi_docker.RemoteImageArgs, pulumi_docker.RemoteImage),
    VOLUME: (pulumi_docker.VolumeArgs, pulumi_docker.Volume),
    CONTAINER: (pulumi_docker.ContainerArgs, pulumi_docker.Container),
}
_IN_PLACE: dict[str, set[str]] = {
    IMAGE: {"keepLocally"},
    VOLUME: set(),
    CONTAINER: docker_containers.UPDATED,
}
_SETTINGS = {"disableDockerDaemonCheck", "host", "sshOpts"}
_ENGINE_SETTINGS = {"version", "pluginDownloadURL"}
MOST_CALLS = 32
"""Calls that are answered at the same time."""


class DockerProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider `docker` of the sandbox in a directory."""

    def __init__(self, sandbox: Path, docker: str | None) -> None:
        self._sandbox = sandbox
        self._docker = docker
        """The Docker in which hosts run; None where machines do not boot."""
        self._access: dict[str, Access] = {}
        self._hosts: dict[Access, str] = {}

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Connection
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Connection) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-docker"))

    def Cancel(self, request: empty_pb2.Empty, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    @answering
    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        found = list(setting_problems(settings_of(from_wire(request.news)[0])))
        return provider_pb2.CheckResponse(inputs=request.news, failures=check_failures(found))

    @answering
    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        return configuration_diff(request)

    @answering
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Connection
    ) -> provider_pb2.ConfigureResponse:
        settings = settings_of(from_wire(request.args)[0])
        for path, reason in setting_problems(settings):
            raise RefusalError(f"docker:{path} {reason}")
        if settings["host"] != UNKNOWN:
            access = Access(settings["host"], tuple(settings.get("sshOpts") or ()))
            self._access[context.peer()] = access
            if str(settings.get("disableDockerDaemonCheck", False)).lower() != "true":
                self._hosts[access] = self._find(access)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answering
    def Check(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        token = token_of(request)
        if token not in MODELLED:
            raise RefusalError(f"the sandbox models {', '.join(MODELLED)}, not {token}")
        found = list(problems(token, from_wire(request.news)[0]))
        return provider_pb2.CheckResponse(inputs=request.news, failures=check_failures(found))

    @answering
    def Diff(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        (old, _), (new, _) = from_wire(request.old_inputs), from_wire(request.news)
        changed = changed_names(old, new)
        replaces = [name for name in changed if name not in _IN_PLACE[token_of(request)]]
        return difference(changed, replaces)

    @answering
    def Create(
        self, request: provider_pb2.CreateRequest, context: Connection
    ) -> provider_pb2.CreateResponse:
        token = token_of(request)
        inputs, secrets = from_wire(request.properties)
        if request.preview:
            unknown = dict.fromkeys(sdk.resource_types(_CLASSES[token][1]), UNKNOWN)
            return provider_pb2.CreateResponse(properties=to_wire({**unknown, **inputs}, secrets))
        client = self._client(context)
        if token == IMAGE:
            image = docker_images.pulled(client, inputs["name"])
            identifier, found = f"{image}{inputs['name']}", {"imageId": image}
        elif token == VOLUME:
            identifier = inputs["name"]
            found = docker_containers.make_volume(client, identifier)
        else:
            identifier, found = docker_containers.create(client, inputs), {}
            try:
                docker_containers.start(client, identifier, inputs)
            except RefusalError as error:
                raise unfinished(identifier, request, str(error)) from error
        return provider_pb2.CreateResponse(
            id=identifier, properties=to_wire({**inputs, **found}, secrets)
        )

    @answering
    def Read(
        self, request: provider_pb2.ReadRequest, context: Connection
    ) -> provider_pb2.ReadResponse:
        token, (state, _) = token_of(request), from_wire(request.properties)
        client = self._client(context)
        if token == VOLUME:
            there = docker_containers.has_volume(client, request.id)
        elif token == CONTAINER:
            there = docker_containers.read(client, request.id, state.get("mustRun", True))
        else:
            there = docker_images.has(client, str(state["imageId"]))
        if not there:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id, inputs=request.inputs, properties=request.properties
        )

    @answering
    def Update(
        self, request: provider_pb2.UpdateRequest, context: Connection
    ) -> provider_pb2.UpdateResponse:
        (news, secrets), (olds, _) = from_wire(request.news), from_wire(request.olds)
        if not request.preview and news.get("restart") != olds.get("restart"):
            policy = news.get("restart", "no")
            docker_containers.set_restart(self._client(context), request.id, policy)
        return provider_pb2.UpdateResponse(properties=to_wire({**olds, **news}, secrets))

    @answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: Connection) -> empty_pb2.Empty:
        token, client = token_of(request), self._client(context)
        state, _ = from_wire(request.properties)
        if token == VOLUME:
            docker_containers.remove_volume(client, request.id)
        elif token == CONTAINER:
            docker_containers.remove(client, request.id, state.get("destroyGraceSeconds"))
        elif not state.get("keepLocally"):
            docker_images.remove(client, str(state["imageId"]))
        return empty_pb2.Empty()

    def _host(self, context: Connection) -> str:
        """The container of the host that a connection was configured for."""
        access = self._access.get(context.peer())
        if access is None:
            raise RefusalError("this connection has lost its configuration: run the command again")
        if access not in self._hosts:
            self._hosts[access] = self._find(access)
        return self._hosts[access]

    def _find(self, access: Access) -> str:
        if self._docker is None:
            raise RefusalError("this sandbox boots no machines, so no host has a Docker")
        return docker_host.machine(self._sandbox, access)

    def _client(self, context: Connection) -> Any:
        """A client of the Docker of the host that a connection was configured for."""
        host = self._host(context)
        assert self._docker is not None  # noqa: S101 - for mypy: a host was found
        try:
            return private_docker.connect_inside(self._docker, host)
        except (docker.errors.DockerException, OSError) as error:
            raise RefusalError(f"Error pinging Docker server: {error}") from error


def setting_problems(settings: Properties) -> Iterator[Problem]:
    """Everything that is wrong with the configuration of the provider itself."""
    for name in settings.keys() - _SETTINGS - _ENGINE_SETTINGS:
        if not name.startswith("__"):
            listed = ", ".join(sorted(_SETTINGS))
            yield name, f"the sandbox does not model this setting; it models {listed}"
    if settings.get("host") != UNKNOWN and (reason := docker_host.problem(settings.get("host"))):
        yield "host", reason
    options = settings.get("sshOpts", [])
    if options != UNKNOWN and not (
        isinstance(options, list) and all(isinstance(each, str) for each in options)
    ):
        yield "sshOpts", "a list of strings is needed"


def problems(token: str, inputs: Properties) -> Iterator[Problem]:
    """Everything that is wrong with the inputs of a resource."""
    arguments, modelled = _CLASSES[token][0], MODELLED[token]
    kinds = sdk.input_type_types(arguments)
    found = [
        *((name, f"is missing and {token} needs it") for name in _missing(token, inputs)),
        *(each for name in inputs for each in _of_input(name, inputs[name], kinds, modelled)),
    ]
    yield from found
    if not found and token == CONTAINER:
        yield from docker_containers.problems(inputs)
    name = inputs.get("name")
    reason = docker_images.problem(name) if token == IMAGE and isinstance(name, str) else None
    if reason and name != UNKNOWN:
        yield "name", reason


def _missing(token: str, inputs: Properties) -> list[str]:
    """Names are optional for the real one, which makes them up; here they would not be told apart."""
    return sorted((schema.required(_CLASSES[token][0]) | {"name"}) - inputs.keys())


def _of_input(
    name: str, value: Any, kinds: Any, modelled: dict[str, set[str]]
) -> Iterator[Problem]:
    if name not in modelled:
        yield (
            name,
            f"the sandbox does not model this input; it models {', '.join(sorted(modelled))}",
        )
        return
    wrong = list(schema.problems(value, kinds[name], name))
    yield from wrong
    if wrong or not modelled[name]:
        return
    for each in value if isinstance(value, list) else [value]:
        for inner in sorted(each.keys() - modelled[name] if isinstance(each, dict) else ()):
            yield f"{name}.{inner}", "the sandbox does not model this input"


def serve(sandbox: Path, docker: str | None) -> tuple[grpc.Server, int]:
    """A running server of the provider on the loopback, and its port."""
    return protocol.serve(DockerProvider(sandbox, docker), MOST_CALLS)
