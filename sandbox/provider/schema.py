"""What the `pulumi_aws` SDK says about a type: its inputs, outputs and functions, and their types.

The SDK is the only schema at hand, and the best one: a program that passes here passes the types of
the version of the provider it is pinned to.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import re
import threading
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import cache
from typing import Any

from pulumi import _types as sdk

from .values import UNKNOWN, is_asset

# The SDK's packages import each other, which Python does not do well from two threads at once.
_loading = threading.Lock()

PRIMITIVES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Signature:
    """The properties of a resource or function: name to type, and which ones it cannot do without."""

    token: str
    inputs: Mapping[str, Any]
    required: frozenset[str]
    outputs: Mapping[str, Any]


@cache
def resource(token: str) -> Signature:
    """The signature of a resource type such as `aws:ec2/vpc:Vpc`; LookupError where none exists."""
    module = _module(token)
    arguments, cls = (getattr(module, name) for name in module.__all__[:2])
    return Signature(
        token=token,
        inputs=sdk.input_type_types(arguments),
        required=required(arguments),
        outputs=sdk.resource_types(cls),
    )


@cache
def function(token: str) -> Signature:
    """The signature of a function such as `aws:ec2/getAmi:getAmi`; LookupError where none exists."""
    module = _module(token)
    python_name = next(name for name in module.__all__ if name.startswith("get_"))
    call = getattr(module, python_name)
    hints = typing.get_type_hints(call)
    parameters = [name for name in inspect.signature(call).parameters if name != "opts"]
    result = next(getattr(module, name) for name in module.__all__ if name.endswith("Result"))
    return Signature(
        token=token,
        inputs={_camel(name): hints[name] for name in parameters},
        required=frozenset(
            _camel(name)
            for name in parameters
            if inspect.signature(call).parameters[name].default is inspect.Parameter.empty
        ),
        outputs=sdk.resource_types(result),
    )


def problems(value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every way in which `value` is not of the SDK's type `kind`: (property path, reason)."""
    kind = _plain(kind)
    if value == UNKNOWN or kind is Any:
        return
    if typing.get_origin(kind) is collections.abc.Sequence:
        if not isinstance(value, list):
            yield path, f"got {_said(value)}; a list is needed"
            return
        for index, item in enumerate(value):
            yield from problems(item, typing.get_args(kind)[0], f"{path}[{index}]")
    elif typing.get_origin(kind) is collections.abc.Mapping:
        if not isinstance(value, dict):
            yield path, f"got {_said(value)}; a map is needed"
            return
        for name, item in value.items():
            yield from problems(item, typing.get_args(kind)[1], f"{path}.{name}")
    elif sdk.is_input_type(kind):
        yield from _object_problems(value, kind, path)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        allowed = [str(each.value) for each in kind]
        if value not in allowed:
            yield path, f"got {_said(value)}; one of {', '.join(allowed)} is needed"
    elif kind in PRIMITIVES:
        if not _is_primitive(value, kind):
            yield path, f"got {_said(value)}; {PRIMITIVES[kind]} is needed"
    elif not is_asset(value):
        yield path, f"got {_said(value)}; a pulumi.FileAsset or pulumi.StringAsset is needed"


def conformed(value: Any, kind: Any) -> Any:
    """What AWS answered, in the names and types of the SDK's output type `kind`.

    Names are matched without regard to case; where two match, the later one counts. What the SDK
    does not know is left out.
    """
    kind = _plain(kind)
    if value is None:
        return None
    if typing.get_origin(kind) is collections.abc.Sequence:
        items = [conformed(item, typing.get_args(kind)[0]) for item in value]
        return [item for item in items if item is not None]
    if sdk.is_output_type(kind):
        return conformed_object(value, sdk.output_type_types(kind))
    if kind is str and not isinstance(value, str):
        return _as_text(value)
    return value


def conformed_object(item: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Like `conformed`, for an object whose property types are given by name."""
    folded = {name.lower(): value for name, value in item.items()}
    found = {
        name: conformed(folded[name.lower()], kind)
        for name, kind in kinds.items()
        if name.lower() in folded
    }
    return {name: value for name, value in found.items() if value is not None}


def is_object(kind: Any) -> bool:
    """Whether an SDK input type is an object or a list of objects with properties of its own."""
    kind = _plain(kind)
    if typing.get_origin(kind) is collections.abc.Sequence:
        return is_object(typing.get_args(kind)[0])
    return sdk.is_input_type(kind)


def object_inputs(kind: Any) -> dict[str, Any]:
    """The properties of an SDK input type for which `is_object` holds."""
    kind = _plain(kind)
    if typing.get_origin(kind) is collections.abc.Sequence:
        return object_inputs(typing.get_args(kind)[0])
    return sdk.input_type_types(kind)


def _object_problems(value: Any, kind: type, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, f"got {_said(value)}; an object is needed"
        return
    known = sdk.input_type_types(kind)
    for name in required(kind) - value.keys():
        yield f"{path}.{name}", "is missing and the provider needs it"
    for name, item in value.items():
        if name not in known:
            allowed = ", ".join(sorted(known))
            yield f"{path}.{name}", f"is no property of {path}; allowed are {allowed}"
        else:
            yield from problems(item, known[name], f"{path}.{name}")


def _module(token: str) -> types.ModuleType:
    matched = re.fullmatch(r"aws:(\w+)/(\w+):\w+", token)
    if not matched:
        raise LookupError(token)
    package, name = matched.groups()
    parent = "pulumi_aws" if package == "index" else f"pulumi_aws.{package}"
    try:
        with _loading:
            return importlib.import_module(f"{parent}.{_snake(name)}")
    except ModuleNotFoundError as error:
        raise LookupError(token) from error


def required(cls: type) -> frozenset[str]:
    """The properties that an SDK input type cannot do without."""
    names = sdk.input_type_py_to_pulumi_names(cls)
    parameters = list(inspect.signature(cls).parameters.values())
    return frozenset(
        names[parameter.name]
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
    )


def _plain(kind: Any) -> Any:
    """The type inside `Input[Optional[...]]`: the first member of a union is the value itself."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        return _plain(members[0])
    return kind


def _is_primitive(value: Any, kind: type) -> bool:
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _said(value: Any) -> str:
    # The value itself may be a secret, so only its kind is told.
    return f"a value of type {type(value).__name__}"


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
