"""The values of requests against what botocore's service models say of them.

botocore checks names and types, and moto little more: a value that is no member of an enumeration, does not match its
pattern or is too long gets as far as a real account. Here it is refused before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import regex
from botocore.client import BaseClient
from botocore.model import OperationModel, Shape

from .values import RefusalError

ALLOWED: dict[tuple[str, str], str] = {}
"""What AWS takes although the model does not: operation and member, and how that is known."""

ROUTE53_IDS = ("ResourceId", "DelegationSetId", "ChangeId")
"""Shapes of ids that botocore shortens before it sends them (botocore.handlers.fix_route53_ids)."""

SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
"""How a model writes the characters above U+FFFF, in pairs as Java has them."""


def checked(client: BaseClient) -> BaseClient:
    """The same client, which refuses values that AWS would: RefusalError."""
    client.meta.events.register_last("before-parameter-build.*.*", _refuse)
    return client


def problems(parameters: Mapping[str, Any], operation: OperationModel) -> list[str]:
    """What AWS would not take of the parameters of an operation."""
    if operation.input_shape is None:
        return []
    service = operation.service_model.service_name
    found = _structure(parameters, operation.input_shape, "")
    return [
        f"{operation.name}: {path} {reason}"
        for path, reason in found
        if (f"{service}:{operation.name}", regex.sub(r"\[\d+\]", "[]", path)) not in ALLOWED
    ]


def _refuse(params: Mapping[str, Any], model: OperationModel, **_: Any) -> None:
    if found := problems(params, model):
        raise RefusalError("; ".join(found))


def _structure(value: Mapping[str, Any], shape: Any, path: str) -> Iterator[tuple[str, str]]:
    for name in shape.required_members:
        if name not in value:
            yield f"{path}{name}", "is required"
    for name, item in value.items():
        if name in shape.members and item is not None:  # botocore refuses other names
            yield from _value(item, shape.members[name], f"{path}{name}")


def _value(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(value, shape, f"{path}.")
    elif kind == "list":
        yield from _size(len(value), shape, path, "items")
        for number, item in enumerate(value):
            yield from _value(item, shape.member, f"{path}[{number}]")
    elif kind == "map":
        yield from _size(len(value), shape, path, "entries")
        for key, item in value.items():
            yield from _value(key, shape.key, f"{path} key")
            yield from _value(item, shape.value, f"{path}.{key}")
    elif kind == "string" and isinstance(value, str):
        # botocore takes the folder of Route 53's ids away itself: /hostedzone/Z123.
        is_path = shape.name in ROUTE53_IDS and value.startswith("/")
        yield from _text(value.rpartition("/")[2] if is_path else value, shape, path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _size(value, shape, path, "")


def _text(value: str, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    # A value may be a secret: it is shown only if the model lists what it can be.
    values = shape.metadata.get("enum", [])
    if values and value not in values:
        yield path, f"is {value!r}; AWS takes {', '.join(values)}"
    yield from _size(len(value), shape, path, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield path, f"does not match {pattern}"


def _size(size: float, shape: Shape, path: str, unit: str) -> Iterator[tuple[str, str]]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    said = f"{size} {unit}".strip()
    if least is not None and size < least:
        yield path, f"is {said}; AWS takes {least} or more"
    if most is not None and size > most:
        yield path, f"is {said}; AWS takes {most} or less"


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    # Models are written for Java, whose patterns know \p{L}, and call any character \p{all}.
    known = pattern.replace(SURROGATES, r"\U00010000-\U0010FFFF").replace(r"\p{all}", r"\p{Any}")
    return regex.compile(known)
