"""The engine's side of the provider's protocol, in its own messages and without a network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from pulumi.runtime.proto import provider_pb2

from sandbox.provider.aws import Aws
from sandbox.provider.service import AwsProvider
from sandbox.provider.values import from_wire, to_wire

REGION = "us-east-1"
_SEEDS = (str(number).encode() for number in itertools.count())


class RefusedError(Exception):
    """The provider ended a call with a gRPC error."""


class Connection:
    """A connection that raises what the provider refuses, and keeps what it sends along."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.trailing: tuple[tuple[str, bytes], ...] = ()

    def peer(self) -> str:
        """The name given at the start."""
        return self._peer

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """No test ends a call early."""
        return True

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, bytes], ...]) -> None:
        """Keep it for the test to see."""
        self.trailing = trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Raise the refusal."""
        raise RefusedError(details)


@dataclass
class Engine:
    """One configured connection to the provider: what `pulumi up` would send over it."""

    provider: AwsProvider
    endpoint: str
    connection: Connection
    region: str = REGION
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = {"region": self.region}
        if self.default_tags:
            settings["defaultTags"] = json.dumps({"tags": self.default_tags})
        request = provider_pb2.ConfigureRequest(args=to_wire(settings, []))
        self.provider.Configure(request, self.connection)

    @property
    def aws(self) -> Aws:
        """The AWS behind the provider, to change or look at it behind its back."""
        return Aws(self.endpoint, self.region)

    def problems(self, token: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        """What Check finds wrong: property to reason."""
        return {item.property: item.reason for item in self._check(token, inputs, {}).failures}

    def checked(
        self, token: str, inputs: Mapping[str, Any], old: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The inputs as the provider completes them."""
        answer = self._check(token, inputs, old or {})
        assert not answer.failures, answer.failures
        return from_wire(answer.inputs)[0]

    def _check(self, token: str, inputs: Mapping[str, Any], old: Mapping[str, Any]) -> Any:
        request = provider_pb2.CheckRequest(
            urn=urn(token),
            news=to_wire(inputs, []),
            olds=to_wire(old, []),
            randomSeed=next(_SEEDS),
        )
        return self.provider.Check(request, self.connection)

    def create(self, token: str, preview: bool = False, **inputs: Any) -> Made:
        """Check and Create."""
        checked = self.checked(token, inputs)
        request = provider_pb2.CreateRequest(
            urn=urn(token), properties=to_wire(checked, []), preview=preview
        )
        answer = self.provider.Create(request, self.connection)
        return Made(token, answer.id, checked, from_wire(answer.properties)[0])

    def diff(self, made: Made, inputs: Mapping[str, Any]) -> provider_pb2.DiffResponse:
        """Diff of a resource against new inputs, which have been through Check."""
        return self.provider.Diff(
            provider_pb2.DiffRequest(
                urn=urn(made.token),
                id=made.id,
                olds=to_wire(made.outputs, []),
                old_inputs=to_wire(made.inputs, []),
                news=to_wire(inputs, []),
            ),
            self.connection,
        )

    def update(self, made: Made, **inputs: Any) -> Made:
        """Check and Update to new inputs."""
        checked = self.checked(made.token, inputs, made.inputs)
        request = provider_pb2.UpdateRequest(
            urn=urn(made.token),
            id=made.id,
            olds=to_wire(made.outputs, []),
            old_inputs=to_wire(made.inputs, []),
            news=to_wire(checked, []),
        )
        answer = self.provider.Update(request, self.connection)
        return Made(made.token, made.id, checked, from_wire(answer.properties)[0])

    def read(self, made: Made, imported: bool = False) -> Made | None:
        """Read, as a refresh does it, or without any knowledge, as an import does it."""
        request = provider_pb2.ReadRequest(
            urn=urn(made.token),
            id=made.id,
            properties=to_wire({} if imported else made.outputs, []),
            inputs=to_wire({} if imported else made.inputs, []),
        )
        answer = self.provider.Read(request, self.connection)
        if not answer.id:
            return None
        return Made(
            made.token, answer.id, from_wire(answer.inputs)[0], from_wire(answer.properties)[0]
        )

    def delete(self, made: Made) -> None:
        """Delete."""
        request = provider_pb2.DeleteRequest(
            urn=urn(made.token),
            id=made.id,
            properties=to_wire(made.outputs, []),
            old_inputs=to_wire(made.inputs, []),
        )
        self.provider.Delete(request, self.connection)

    def invoke(self, token: str, **arguments: Any) -> dict[str, Any]:
        """Invoke; the failures under `failures` when there are some."""
        request = provider_pb2.InvokeRequest(tok=token, args=to_wire(arguments, []))
        answer = self.provider.Invoke(request, self.connection)
        if answer.failures:
            return {"failures": {item.property: item.reason for item in answer.failures}}
        return from_wire(getattr(answer, "return"))[0]


@dataclass(frozen=True)
class Made:
    """A resource as the engine's state keeps it."""

    token: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


def urn(token: str, name: str = "thing") -> str:
    """The URN of a resource of this type."""
    return f"urn:pulumi:test::sandbox::{token}::{name}"
