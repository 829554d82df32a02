"""What the cluster asks of a site: machines that become nodes. ``components.aws`` and ``components.hosts`` answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pulumi

from components.endpoint import Endpoint
from model.workers import GpuAllocation


class SharedFolder(Protocol):
    """What a site's nodes need to find the dataset directory."""

    def as_output(self) -> pulumi.Output[str]:
        """The one name by which an operator finds it."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a machine becomes: everything about a node that is the same on every site."""

    name: str
    """Its name in the cluster: ``leader``, or a key of ``followers``."""

    postgres: Endpoint
    """The leader's PostgreSQL."""

    redis: Endpoint
    """The leader's Redis."""

    shared_folder: SharedFolder
    """The dataset directory, as its site names it."""

    gpu: GpuAllocation
    """GPUs used, and workers on them."""

    configuration: Mapping[str, object]
    """Variables and files of the release, as the specification has them."""


class LeaderMachine(Protocol):
    """The machine of the leader."""

    def provision(self, name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
        """Make sure that there is a machine; where the others reach it, a name or an address that stays."""

    def converge(self, name: str, node: Node, parent: pulumi.Resource) -> None:
        """Make the machine the leader, and wait until it has proven to be."""


class FollowerMachine(Protocol):
    """The machine of a follower."""

    def converge(self, name: str, node: Node, parent: pulumi.Resource) -> None:
        """Make sure that there is a machine, make it the follower, and wait until it has proven to be."""


class Machines(Protocol):
    """The machines of one cluster and what they have in common."""

    @property
    def leader(self) -> LeaderMachine | None:
        """The leader's; None where another stack has the leader."""

    @property
    def shared_folder(self) -> SharedFolder:
        """The dataset directory."""

    @property
    def kept_data(self) -> Mapping[str, pulumi.Output[str]]:
        """What outlives ``destroy``: the kind of each to where it is. Known once the machines are complete."""

    def follower(self, node: str) -> FollowerMachine:
        """The machine of a follower by name."""

    def complete(self) -> None:
        """Make what can be made only when every node is there."""

    def join(self) -> dict[str, pulumi.Input[object]]:
        """What followers of other stacks need of this one, beside the endpoints."""

    def exports(self) -> dict[str, pulumi.Input[object]]:
        """The stack's outputs that only this site has: ``leader``, ``followers`` and more."""
