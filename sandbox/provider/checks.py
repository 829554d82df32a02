"""Refusals: every input that is wrong, or right but not modelled, with what is allowed instead."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

from pulumi.runtime.proto import provider_pb2

from . import schema
from .compare import BOOKKEEPING
from .functions import FUNCTIONS, Function
from .protocol import Problem
from .resources import TYPES
from .table import ResourceType
from .values import Properties, RefusalError

_SETTINGS = {"region", "defaultTags", "allowedAccountIds"}
# How the provider reaches AWS and what it looks up there first: nothing of it exists here.
_NO_MATTER = {
    "maxRetries",
    "skipCredentialsValidation",
    "skipMetadataApiCheck",
    "skipRegionValidation",
    "skipRequestingAccountId",
}
_ENGINE_SETTINGS = {"version", "pluginDownloadURL"}


def resource_type(token: str) -> ResourceType:
    """The row of a type; RefusalError, with what to do, where there is none."""
    if token not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise RefusalError(
            f"the sandbox does not model {token}: add it to sandbox/provider/resources, or use one"
            f" of {known}"
        )
    return TYPES[token]


def function(token: str) -> Function:
    """The function of a token; RefusalError, with what to do, where there is none."""
    if token not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise RefusalError(
            f"the sandbox does not model {token}: add it to sandbox/provider/functions.py, or use"
            f" one of {known}"
        )
    return FUNCTIONS[token]


def resource_problems(token: str, inputs: Properties) -> list[Problem]:
    """Everything that is wrong with the inputs of a resource."""
    row, signature = resource_type(token), schema.resource(token)
    modelled = row.modelled | ({"region"} & signature.inputs.keys())
    given = {name: value for name, value in inputs.items() if name != BOOKKEEPING}
    required = signature.required | {*row.name.split(), *row.needed.split()}
    return [
        *_top_level(token, given, signature, modelled, required),
        *(
            problem
            for name, value in given.items()
            if name in modelled
            for problem in _unmodelled(row, signature.inputs[name], value, name, name)
        ),
    ]


def function_problems(token: str, arguments: Properties) -> list[Problem]:
    """Everything that is wrong with the arguments of a function."""
    modelled, signature = function(token), schema.function(token)
    needed = signature.required | set(modelled.needed.split())
    return list(_top_level(token, arguments, signature, set(modelled.arguments.split()), needed))


def configuration_problems(settings: Properties) -> list[Problem]:
    """Everything that is wrong with the configuration of the provider itself."""
    problems = [
        (
            name,
            f"the sandbox does not model this setting of the provider; it takes"
            f" {', '.join(sorted(_SETTINGS))}",
        )
        for name in settings
        if name not in _SETTINGS | _NO_MATTER | _ENGINE_SETTINGS and not name.startswith("__")
    ]
    if not settings.get("region"):
        problems.append(("region", "is missing: pulumi config set aws:region us-east-1"))
    tags = settings.get("defaultTags")
    if tags is not None and (not isinstance(tags, dict) or tags.keys() - {"tags"}):
        problems.append(("defaultTags", 'must look like {"tags": {"name": "value"}}'))
    return problems


def named(
    row: ResourceType, request: provider_pb2.CheckRequest, news: Properties, olds: Properties
) -> Properties:
    """The inputs to add so that the resource has a name: the old one, or a new one."""
    if not row.name or row.name in news:
        return {}
    if row.name in olds:
        return {row.name: olds[row.name], BOOKKEEPING: [row.name]}
    logical = request.name or request.urn.rpartition("::")[2]
    automatic = request.autonaming
    modes = provider_pb2.CheckRequest.AutonamingOptions.Mode
    if request.HasField("autonaming") and automatic.mode == modes.DISABLE:
        return {}
    if request.HasField("autonaming") and automatic.proposed_name:
        name = automatic.proposed_name
    else:
        seed = request.randomSeed
        suffix = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4)
        name = f"{logical[: row.name_length - 8]}-{suffix[:7]}"
    return {row.name: name.lower() if row.name == "bucket" else name, BOOKKEEPING: [row.name]}


def _top_level(
    token: str,
    given: Properties,
    signature: schema.Signature,
    modelled: set[str],
    required: frozenset[str],
) -> Iterator[Problem]:
    for name in sorted(required - given.keys()):
        yield name, f"is missing and {token} needs it"
    for name, value in given.items():
        if name not in signature.inputs:
            yield name, f"is no property of {token}; allowed are {_listed(modelled)}"
        elif name not in modelled:
            yield (
                name,
                f"the sandbox does not model this property of {token}; {_modelled(modelled)}",
            )
        else:
            yield from schema.problems(value, signature.inputs[name], name)


def _unmodelled(
    row: ResourceType, kind: Any, value: Any, pattern: str, path: str
) -> Iterator[Problem]:
    """The properties inside objects that the SDK knows and the row does not."""
    if not schema.is_object(kind):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unmodelled(row, kind, item, pattern, f"{path}[{index}]")
    elif isinstance(value, dict):
        known, modelled = schema.object_inputs(kind), set(row.nested.get(pattern, "").split())
        for name, item in value.items():
            inner = f"{path}.{name}"
            if name in known and name not in modelled:
                yield inner, f"the sandbox does not model this property; {_modelled(modelled)}"
            elif name in known:
                yield from _unmodelled(row, known[name], item, f"{pattern}.{name}", inner)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _modelled(names: set[str]) -> str:
    return f"it models {_listed(names)}: add it to the table in sandbox/provider/resources"
