"""The row of the stand-in's table for one resource type, and the usual ways to fill it.

A row sorts every input it models by what a change of it means, so each input is a reviewed decision:
`fixed` (a property or a dotted path) replaces the resource, `updates` changes it in place, `local`
concerns the provider alone. An input in none of them is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath

from .aws import Aws
from .values import Properties

Create = Callable[[Aws, Properties], str]
"""Makes the resource from its `fixed` and `updates` properties, without the `later` ones: its id."""
Read = Callable[[Aws, str, Properties], Mapping[str, Any] | None]
"""What AWS says of the resource with this id, in AWS's or Pulumi's names; None when it is gone."""
Update = Callable[[Aws, str, Properties], None]
"""Makes the properties it is responsible for what the given inputs say."""
Delete = Callable[[Aws, str, Properties], None]
"""Deletes the resource; AWS's "not found" may pass through."""
Tagger = Callable[[Aws, str, Mapping[str, str], list[str]], None]
"""Sets some tags and removes the tags with the given keys."""


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """How one type of resource is carried out. Lists of properties are words in one string."""

    create: Create
    read: Read
    delete: Delete
    fixed: str = ""
    updates: Mapping[str, Update] = field(default_factory=dict)
    local: str = ""
    later: str = ""
    """Properties that creation cannot take: their update runs right after it."""
    twice: str = ""
    """Properties given at creation and once more right after it, because it keeps only a part."""
    fixed_if: Mapping[str, str] = field(default_factory=dict)
    """Properties whose change replaces the resource when the flag named here is set."""
    nested: Mapping[str, str] = field(default_factory=dict)
    """The modelled properties inside an object property, by its dotted path."""
    tagger: Tagger | None = None
    name: str = ""
    """The property that is named after the resource when the program gives none."""
    name_length: int = 255
    defaults: Properties = field(default_factory=dict)
    """What an absent input means, from the provider's documentation."""
    needed: str = ""
    """Properties the SDK leaves optional and AWS does not."""
    documents: str = ""
    """Properties that hold JSON, compared by meaning."""
    unordered: str = ""
    """Lists whose order means nothing, by dotted path."""
    recomputed: str = ""
    """Outputs that any update changes."""
    arn: str = ""
    """The ARN's service and resource, such as `ec2:vpc/{id}`, where AWS does not tell it."""
    replace_by_deleting: bool = False
    """Whether two cannot exist side by side, so that a replacement starts with the deletion."""

    @property
    def modelled(self) -> set[str]:
        """Every input this row handles, `region` aside."""
        tags = {"tags"} if self.tagger else set()
        fixed = {path.partition(".")[0] for path in self.fixed.split()}
        return {*fixed, *" ".join(self.updates).split(), *self.local.split(), *tags}

    def at_creation(self, inputs: Properties) -> Properties:
        """The inputs that the call of creation takes."""
        elsewhere = {*self.later.split(), *self.local.split()} | (
            {"tags"} if self.tagger else set()
        )
        return {name: value for name, value in inputs.items() if name not in elsewhere}


def created(operation: str, result: str, renamed: Mapping[str, str] | None = None) -> Create:
    """Creation by one operation, with the id at the JMESPath `result` of its response."""

    def create(aws: Aws, inputs: Properties) -> str:
        return str(jmespath.search(result, aws.request(operation, inputs, renamed)))

    return create


def described(
    operation: str, argument: str, result: str, *, identity: str = "", **also: str
) -> Read:
    """Reading by one operation that takes the id in `argument` and has the object at `result`.

    `identity` is the property that the id is; `also` gives the JMESPath, within the object, of
    outputs that AWS names differently.
    """

    def read(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
        value: Any = [identifier] if argument.endswith("Ids") else identifier
        item = jmespath.search(result, aws.call(operation, **{argument: value}))
        if not item:
            return None
        own = {identity: identifier} if identity else {}
        found = {name: jmespath.search(path, item) for name, path in also.items()}
        return {**item, **own, **found}

    return read


def deleted(operation: str, argument: str) -> Delete:
    """Deletion by one operation that takes the id in `argument`."""

    def delete(aws: Aws, identifier: str, inputs: Properties) -> None:
        aws.call(operation, **{argument: identifier})

    return delete


def modified(
    operation: str, argument: str, names: str, renamed: Mapping[str, str] | None = None
) -> dict[str, Update]:
    """Update of the properties `names` by one operation that takes the id in `argument`."""

    def update(aws: Aws, identifier: str, inputs: Properties) -> None:
        wanted = {name: inputs[name] for name in names.split() if name in inputs}
        aws.request(operation, wanted, renamed, **{argument: identifier})

    return {names: update}


def kept(aws: Aws, identifier: str, inputs: Properties) -> None:
    """Deletion of what AWS does not let go: it is only forgotten."""
