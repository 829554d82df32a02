"""What every stand-in provider does alike in the engine's protocol."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, TypeVar, cast

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from pulumi.runtime.proto import provider_pb2, status_pb2

from .aws import explained
from .values import Properties, RefusalError

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


def property_diff(path: str, kind: str, *, replacing: bool) -> provider_pb2.PropertyDiff:
    """One changed property."""
    name = f"{kind.upper()}_REPLACE" if replacing else kind.upper()
    return provider_pb2.PropertyDiff(
        kind=provider_pb2.PropertyDiff.Kind.Value(name), inputDiff=path != "tagsAll"
    )
