"""A follower of a cluster: ingests and visualizes on GPUs of its own, with the leader's data services."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.endpoint import Endpoint
from components.machines import FollowerMachine, Node, SharedFolder
from model.workers import GpuAllocation


@dataclass(frozen=True, kw_only=True)
class FollowerNodeArgs:
    """Inputs of :class:`FollowerNode`. The leader's three outputs have no default: a follower without a leader
    cannot be written down."""

    node: str
    """The follower's key in the stack file. Another name is another follower."""

    machine: FollowerMachine
    """The machine under it, which its site makes or finds."""

    postgres: Endpoint
    """The leader's PostgreSQL. Changes the specification only."""

    redis: Endpoint
    """The leader's Redis, for Nexus and forge-etl-python. Changes the specification only."""

    shared_folder: SharedFolder
    """The leader's dataset directory. Changes the specification, and on AWS the role's rights."""

    gpu: GpuAllocation
    """GPUs and workers. Changes the specification only; the agent converges in place."""

    configuration: Mapping[str, object]
    """What `settings.configuration.document` says of the stack file's variables and files. A change is in place."""

    def __post_init__(self) -> None:
        for field in ("postgres", "redis"):
            if not isinstance(getattr(self, field), Endpoint):
                raise TypeError(
                    f"{field}: got {getattr(self, field)!r}; a follower needs the leader's {field} endpoint, "
                    f"LeaderNode.{field}"
                )
        if not hasattr(self.shared_folder, "as_output"):
            raise TypeError(
                f"shared_folder: got {self.shared_folder!r}; a follower needs LeaderNode.shared_folder"
            )


class FollowerNode(pulumi.ComponentResource):
    """One follower.

    Creates: its machine as the site makes it, its specification, the wait for its readiness.
    """

    def __init__(
        self, name: str, args: FollowerNodeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:FollowerNode", name, {}, opts)
        node = Node(
            name=args.node,
            postgres=args.postgres,
            redis=args.redis,
            shared_folder=args.shared_folder,
            gpu=args.gpu,
            configuration=args.configuration,
        )
        args.machine.converge(name, node, self)
        self.register_outputs({"node": args.node})
