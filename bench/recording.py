"""What a deployed cluster is made of, read from its state: for the floor to register it again, flat.

The state has the values that the resources had and which of them came from which resource. So the flat program can
wait for the very same outputs, and the engine has the same graph to walk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

PROVIDERS = "pulumi:providers:"
"""What the types of providers begin with."""

READER = f"{PROVIDERS}pulumi"
"""The provider by which the program reads its own state; a program that reads none has no such thing."""

ASSET_PATH = "path"
"""Where the state of an input keeps the file that it was read from."""

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Marks an object of the state as something other than an object (Pulumi: ``sdk/proto``)."""

SHORTEST_REFERENCE = 7
"""Characters. A shorter output, such as ``A`` or ``60``, would be found where it was not used."""

Resource = Mapping[str, Any]


def custom(resources: Sequence[Resource]) -> list[Resource]:
    """The resources that a provider made, and the providers: all but components and the stack."""
    return [each for each in resources if each["custom"] and each["type"] != READER]


def shape(resources: Sequence[Resource]) -> dict[tuple[str, str], tuple[set[str], set[Any]]]:
    """The graph of a state without its components.

    Type and name of each resource to the names of its inputs, and to type and name of what it waits for.
    """
    by_urn = {each["urn"]: each for each in resources}
    return {
        _type_and_name(each["urn"]): (
            set(each.get("inputs", {})),  # Pulumi leaves out what is empty
            {_type_and_name(urn) for urn in _awaited(each, by_urn)},
        )
        for each in custom(resources)
    }


def record(resources: Sequence[Resource]) -> dict[str, Any]:
    """What ``floor/__main__.py`` reads: the provider's inputs, and the resources in the order of the state."""
    (provider,) = (each for each in resources if each["type"] == f"{PROVIDERS}aws")
    bare = [each for each in custom(resources) if not each["type"].startswith(PROVIDERS)]
    position = {each["urn"]: index for index, each in enumerate(bare)}
    by_urn = {each["urn"]: each for each in resources}
    return {
        "default_tags": json.loads(provider["inputs"]["defaultTags"])["tags"],
        "accounts": json.loads(provider["inputs"]["allowedAccountIds"]),
        "max_retries": int(provider["inputs"]["maxRetries"]),
        "resources": [
            _recorded(each, bare, position, {position[urn] for urn in _awaited(each, by_urn)})
            for each in bare
        ],
    }


def _awaited(resource: Resource, by_urn: Mapping[str, Resource]) -> set[str]:
    """What is made before *resource*: also what its component waits for, since a child is registered after it."""
    own = {urn for urn in resource.get("dependencies", []) if by_urn[urn]["custom"]}
    parent = by_urn.get(resource.get("parent", ""))
    return own | _awaited(parent, by_urn) if parent else own


def _recorded(
    resource: Resource, bare: Sequence[Resource], position: Mapping[str, int], awaited: set[int]
) -> dict[str, Any]:
    inputs = _given(resource)
    files = {name: value[ASSET_PATH] for name, value in inputs.items() if _is_asset(value)}
    values = {name: value for name, value in inputs.items() if name not in files}
    sources = {
        name: [position[urn] for urn in urns if urn in position]
        for name, urns in resource.get("propertyDependencies", {}).items()
        if urns and name in values
    }
    through_inputs = {index for indices in sources.values() for index in indices}
    return {
        "type": resource["type"],
        "name": resource["urn"].rsplit("::", 1)[-1],
        "values": values,
        "files": files,
        "references": {
            name: _references(values[name], indices, bare) for name, indices in sources.items()
        },
        "depends_on": sorted(awaited - through_inputs),
    }


def _given(resource: Resource) -> dict[str, Any]:
    """The inputs that the program gave: without the names that the provider chose."""
    chosen = {"__defaults", *resource["inputs"].get("__defaults", [])}
    return {name: value for name, value in resource["inputs"].items() if name not in chosen}


def _is_asset(value: Any) -> bool:
    return isinstance(value, dict) and SIGNATURE in value and ASSET_PATH in value


def _references(
    value: Any, indices: Sequence[int], bare: Sequence[Resource]
) -> list[tuple[int, str, str]]:
    """Which outputs of which resources *value* contains, longest first, since an ARN contains an id.

    A resource of which nothing is found, because the value is encoded, is waited for all the same.
    """
    text = json.dumps(value)
    found: list[tuple[int, str, str]] = []
    for index in indices:
        known = {**_computed(bare[index]), "id": bare[index]["id"]}
        outputs = [(index, name, output) for name, output in known.items() if output in text]
        found += outputs or [(index, "id", bare[index]["id"])]
    return sorted(found, key=lambda reference: -len(reference[2]))


def _computed(resource: Resource) -> dict[str, str]:
    given = _given(resource)
    return {
        name: value
        for name, value in resource["outputs"].items()
        if isinstance(value, str) and len(value) >= SHORTEST_REFERENCE and name not in given
    }


def _type_and_name(urn: str) -> tuple[str, str]:
    kind, _, name = urn.split("::", 2)[2].partition("::")
    return kind.rsplit("$", 1)[-1], name
