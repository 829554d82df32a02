"""The followers' wishes for other machines, as documents; `agent.replacement` decides about them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ask:
    """A node's wish for another machine."""

    node: str
    instance: str
    code: str
    since: float
    is_open: bool
    """Until the node is ready again, on whatever machine."""
    asked: tuple[float, ...] = ()
    """When another machine was really asked for."""

    @property
    def has_asked(self) -> bool:
        """Whether the present wish was passed on."""
        return bool(self.asked) and self.asked[-1] >= self.since


class Asks(Protocol):
    """Where a site keeps the wishes of all followers."""

    def of(self, node: str) -> Ask | None:
        """A node's last wish."""

    def all(self) -> tuple[list[str], list[Ask]]:
        """The names of the cluster's followers, and their wishes."""

    def write(self, ask: Ask) -> None:
        """Replace the own wish."""

    def forget(self, node: str) -> str:
        """A command with which the operator takes a node's wish back."""


def dumps(wish: Ask) -> bytes:
    """A wish as a document."""
    return json.dumps(asdict(wish), sort_keys=True).encode()


def loads(content: bytes) -> Ask:
    """A wish from its document; raises ValueError, TypeError or LookupError if it is none."""
    found = json.loads(content)
    return Ask(**{**found, "asked": tuple(found["asked"])})
