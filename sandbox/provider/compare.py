"""What differs: between what was asked before and now, and between what was asked and what is.

Two inputs are the same when they mean the same: defaults filled in, JSON read, the order of sets and
the path of a file left aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from . import moto_gaps
from .schema import Signature
from .table import ResourceType
from .values import UNKNOWN, Properties, is_asset

BOOKKEEPING = "__defaults"
"""The input in which a provider notes the properties it filled in itself, as Pulumi's own do."""


def normal(row: ResourceType, inputs: Properties) -> Properties:
    """Inputs in the one form that all inputs of the same meaning share."""
    effective = {**row.defaults, **inputs}
    return {
        name: _normal(row, value, name)
        for name, value in effective.items()
        if name not in (BOOKKEEPING, "region")
    }


def changed_paths(row: ResourceType, old: Properties, new: Properties) -> dict[str, str]:
    """The paths at which two sets of inputs differ in meaning: path to `add`, `delete`, `update`."""
    return dict(_differences(normal(row, old), normal(row, new), ""))


def replaces(row: ResourceType, path: str, new: Properties) -> bool:
    """Whether a change at this path replaces the resource."""
    flag = row.fixed_if.get(path)
    if flag is not None:
        return bool(new.get(flag))
    bare = path.replace("[", ".[") + "."
    return any(bare.startswith(f"{fixed}.") for fixed in row.fixed.split())


def refreshed_inputs(
    token: str, row: ResourceType, old: Properties, live: Properties
) -> Properties:
    """The old inputs with what AWS says now, for as much of it as they asked for.

    Without old inputs, as at an import: everything the row models and AWS has a value for.
    """
    if not old:
        return _imported(row, live)
    unseen = {*row.local.split(), *moto_gaps.REMEMBERED.get(token, {}), BOOKKEEPING, "region"}
    result: Properties = {}
    for name, asked in old.items():
        if name in unseen:
            result[name] = asked
        elif name in live:
            actual = _narrowed(row, live[name], asked, name)
            same = _normal(row, actual, name) == _normal(row, asked, name)
            result[name] = asked if same else actual
    if live.get("tags") and row.tagger:
        result.setdefault("tags", live["tags"])
    return result


def state(
    token: str, row: ResourceType, signature: Signature, inputs: Properties, live: Properties
) -> Properties:
    """The outputs of a resource: what AWS says, in the program's own words where both agree."""
    current = refreshed_inputs(token, row, inputs, live) if inputs else {}
    told = {name: value for name, value in current.items() if name not in row.nested}
    nested = {name: value for name, value in current.items() if name not in live}
    return {
        name: value
        for name, value in {**row.defaults, **live, **told, **nested}.items()
        if name in signature.outputs or name == "id"
    }


def _imported(row: ResourceType, live: Properties) -> Properties:
    found: Properties = {}
    for name in sorted(row.modelled - set(row.local.split())):
        value = _modelled_part(row, live.get(name), name)
        if value not in (None, "", [], {}) and value != row.defaults.get(name):
            found[name] = value
    return found


def _modelled_part(row: ResourceType, value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_modelled_part(row, item, path) for item in value]
    if isinstance(value, dict) and path in row.nested:
        parts = {
            name: _modelled_part(row, value.get(name), f"{path}.{name}")
            for name in row.nested[path].split()
        }
        return {name: part for name, part in parts.items() if part not in (None, "", [], {})}
    return value


def _narrowed(row: ResourceType, live: Any, asked: Any, path: str) -> Any:
    """As much of a live value as was asked for: AWS always tells more."""
    if isinstance(live, dict) and isinstance(asked, dict) and path in row.nested:
        return {
            name: _narrowed(row, live[name], item, f"{path}.{name}")
            for name, item in asked.items()
            if name in live
        }
    if isinstance(live, list) and isinstance(asked, list) and path in row.nested:
        in_order = len(live) == len(asked) and path not in row.unordered.split()
        every: Properties = {}
        for item in asked:
            every |= item
        patterns = asked if in_order else [every or None] * len(live)
        return [
            _modelled_part(row, item, path)
            if pattern is None
            else _narrowed(row, item, pattern, path)
            for item, pattern in zip(live, patterns, strict=True)
        ]
    return live


def _normal(row: ResourceType, value: Any, path: str) -> Any:
    if is_asset(value):
        return value.get("hash")
    if path in row.documents.split() and isinstance(value, str) and value != UNKNOWN:
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {name: _normal(row, item, f"{path}.{name}") for name, item in value.items()}
    if isinstance(value, list):
        items = [_normal(row, item, path) for item in value]
        if path in row.unordered.split():
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        return items
    return value


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            inner = f"{path}.{name}" if path else name
            if name not in new:
                yield inner, "delete"
            elif name not in old:
                yield inner, "add"
            else:
                yield from _differences(old[name], new[name], inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{path}[{index}]")
    elif old != new:
        yield path, "update"
