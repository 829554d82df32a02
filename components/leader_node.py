"""The leader of a cluster: ingests, visualizes, and runs the one PostgreSQL and the shared Redis."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.endpoint import Endpoint
from components.machines import LeaderMachine, Node, SharedFolder
from model.specification import POSTGRES_PORT, REDIS_PORT
from model.workers import GpuAllocation

NAME = "leader"
"""The leader's name among the nodes of its cluster; no follower may have it."""


@dataclass(frozen=True, kw_only=True)
class LeaderNodeArgs:
    """Inputs of :class:`LeaderNode`."""

    machine: LeaderMachine
    """The machine under it, which its site makes or finds."""

    shared_folder: SharedFolder
    """The dataset directory; the leader hands it on to the followers."""

    gpu: GpuAllocation
    """GPUs and workers. Changes the specification only; the agent converges in place."""

    configuration: Mapping[str, object]
    """What `settings.configuration.document` says of the stack file's variables and files. A change is in place."""


class LeaderNode(pulumi.ComponentResource):
    """The leader.

    Creates: its machine as the site makes it, its specification, the wait for its readiness.
    """

    postgres: Endpoint
    """The cluster's PostgreSQL."""

    redis: Endpoint
    """The Redis of every Nexus and forge-etl-python in the cluster."""

    shared_folder: SharedFolder
    """The cluster's dataset directory."""

    def __init__(
        self, name: str, args: LeaderNodeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:LeaderNode", name, {}, opts)
        host = args.machine.provision(name, self)
        self.postgres = Endpoint(host=host, port=POSTGRES_PORT)
        self.redis = Endpoint(host=host, port=REDIS_PORT)
        self.shared_folder = args.shared_folder
        node = Node(
            name=NAME,
            postgres=self.postgres,
            redis=self.redis,
            shared_folder=self.shared_folder,
            gpu=args.gpu,
            configuration=args.configuration,
        )
        args.machine.converge(name, node, self)
        self.register_outputs(
            {
                "postgres": self.postgres.as_output(),
                "redis": self.redis.as_output(),
                "shared_folder": self.shared_folder.as_output(),
            }
        )
