"""What every stand-in provider does alike in the engine's protocol."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, Protocol, TypeVar, cast

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from .aws import explained
from .values import Properties, RefusalError, from_wire

Problem = tuple[str, str]
"""The path of a property, and what is wrong with it."""

Method = TypeVar("Method", bound=Callable[..., Any])

NO_CHANGE = provider_pb2.DiffResponse.DIFF_NONE


class Connection(Protocol):
    """As much of a gRPC call's context as the providers use."""

    def peer(self) -> str:
        """The other end of the connection, which stays the same for its whole life."""

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call back when the call ends, however it ends."""

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, bytes], ...]) -> None:
        """Send something along with the error."""


class UnfinishedError(Exception):
    """A resource exists and is not as it should be: the engine must not lose it."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


_log = logging.getLogger(__name__)


def answering(method: Method) -> Method:
    """A service method whose refusals reach the user as one line and not as a traceback."""

    @functools.wraps(method)
    def answer(self: Any, request: Any, context: Connection) -> Any:
        try:
            return method(self, request, context)
        except ClientError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, explained(error))
        except (BotoCoreError, RefusalError, OSError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnfinishedError as error:
            details = error.status.SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(grpc.StatusCode.UNKNOWN, error.status.message)
        except Exception as error:
            _log.exception("%s of %s", method.__name__, request)
            place = f"{method.__name__} in the sandbox's provider (see daemon.log)"
            context.abort(grpc.StatusCode.INTERNAL, f"a defect of {place}: {error!r}")

    return cast("Method", answer)


def unfinished(
    identifier: str, request: provider_pb2.CreateRequest, reason: str
) -> UnfinishedError:
    """What keeps a resource in the state that was made and is not as it should be."""
    details = provider_pb2.ErrorResourceInitFailed(
        id=identifier, properties=request.properties, inputs=request.properties, reasons=[reason]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.add().Pack(details)
    return UnfinishedError(status)


def settings_of(properties: Properties) -> Properties:
    """A provider's configuration, in which everything that is not text comes as JSON text."""
    return {
        name: json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
        for name, value in properties.items()
    }


def token_of(request: Any) -> str:
    """The type that a request is about."""
    return str(request.type or request.urn.split("::")[2].rpartition("$")[2])


def top(path: str) -> str:
    """The property that a path begins with."""
    return path.partition(".")[0].partition("[")[0]


def check_failures(problems: list[Problem]) -> list[provider_pb2.CheckFailure]:
    """Problems as the engine shows them."""
    return [provider_pb2.CheckFailure(property=path, reason=why) for path, why in problems]


def changed_names(old: Properties, new: Properties) -> list[str]:
    """The properties that are not the same in both, sorted."""
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def configuration_diff(request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
    """The answer to `DiffConfig` of a provider whose configuration replaces nothing."""
    changed = changed_names(from_wire(request.old_inputs)[0], from_wire(request.news)[0])
    some = provider_pb2.DiffResponse.DIFF_SOME if changed else NO_CHANGE
    return provider_pb2.DiffResponse(changes=some, diffs=changed)


def difference(changed: list[str], replaces: list[str]) -> provider_pb2.DiffResponse:
    """The answer to `Diff` where whole properties have changed, and those in *replaces* replace the resource."""
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changed else NO_CHANGE,
        diffs=changed,
        replaces=replaces,
        detailedDiff={
            name: property_diff(name, "update", replacing=name in replaces) for name in changed
        },
        hasDetailedDiff=True,
    )


def serve(
    provider: provider_pb2_grpc.ResourceProviderServicer,
    workers: int,
    port: int = 0,
    options: tuple[tuple[str, int], ...] = (),
) -> tuple[grpc.Server, int]:
    """A running server of a provider on the loopback, and its port; 0 is any free one.

    It answers as many calls at the same time as there are *workers*; *options* are gRPC's.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=workers), options=[*options, ("grpc.so_reuseport", 0)]
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def property_diff(path: str, kind: str, *, replacing: bool) -> provider_pb2.PropertyDiff:
    """One changed property."""
    name = f"{kind.upper()}_REPLACE" if replacing else kind.upper()
    return provider_pb2.PropertyDiff(
        kind=provider_pb2.PropertyDiff.Kind.Value(name), inputDiff=path != "tagsAll"
    )
