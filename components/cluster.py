"""A whole cluster: what its site brings, the leader, the followers."""

from collections.abc import Callable
from dataclasses import dataclass

import pulumi

from components.follower_node import FollowerNode, FollowerNodeArgs
from components.leader_node import NAME as LEADER
from components.leader_node import LeaderNode, LeaderNodeArgs
from components.leader_stack import JOIN_VERSION, LeaderStack
from components.machines import LeaderMachine, Machines
from model.settings.configuration import document
from model.settings.read import AnySettings
from model.workers import node_allocation


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """Inputs of :class:`Cluster`."""

    settings: AnySettings
    """The stack file. What a change of each key does is said in ``model/settings`` (``aws.py``, ``hosts.py``)."""

    machines: Callable[[str, pulumi.Resource], Machines]
    """Makes what the machines of the site have in common, below the cluster and named after it."""

    leader_stack: LeaderStack | None = None
    """The stack that has the leader, of a stack of followers only. Another one is another cluster."""


class Cluster(pulumi.ComponentResource):
    """One leader, any number of followers, one shared folder.

    Creates: what the site's machines have in common, :class:`LeaderNode` (unless another stack has the leader), a
    :class:`FollowerNode` per entry of ``followers``.
    """

    leader: LeaderNode | LeaderStack
    """The leader, or the stack that has it."""

    followers: dict[str, FollowerNode]
    """The followers by name."""

    machines: Machines
    """The site's machines."""

    def __init__(
        self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:Cluster", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._settings = settings = args.settings
        self.machines = args.machines(name, self)
        machine = self.machines.leader
        leader = args.leader_stack if machine is None else self._leader(name, machine, child)
        if leader is None:
            raise TypeError(
                "leader_stack: got None; machines without a leader need another stack's"
            )
        self.leader = leader
        self.followers = {
            node: FollowerNode(
                f"{name}-{node}",
                FollowerNodeArgs(
                    node=node,
                    machine=self.machines.follower(node),
                    postgres=self.leader.postgres,
                    redis=self.leader.redis,
                    shared_folder=self.machines.shared_folder,
                    gpu=node_allocation(settings, node),
                    configuration=document(settings.configuration, settings.configuration_of(node)),
                ),
                child,
            )
            for node in settings.followers
        }
        self.machines.complete()
        self.register_outputs(
            {"postgres": self.leader.postgres.as_output(), "redis": self.leader.redis.as_output()}
        )

    def _leader(
        self, name: str, machine: LeaderMachine, opts: pulumi.ResourceOptions
    ) -> LeaderNode:
        return LeaderNode(
            f"{name}-{LEADER}",
            LeaderNodeArgs(
                machine=machine,
                shared_folder=self.machines.shared_folder,
                gpu=node_allocation(self._settings, LEADER),
                configuration=document(
                    self._settings.configuration, self._settings.configuration_of(LEADER)
                ),
            ),
            opts,
        )

    def exports(self) -> dict[str, pulumi.Input[object]]:
        """Outputs of the stack by name; docs/reference/outputs.md lists them."""
        postgres, redis = self.leader.postgres.as_output(), self.leader.redis.as_output()
        outputs: dict[str, pulumi.Input[object]] = {
            "postgres": postgres,
            "redis": redis,
            "sharedFolder": self.machines.shared_folder.as_output(),
            "keptData": self.machines.kept_data,
            **self.machines.exports(),
        }
        if isinstance(self.leader, LeaderStack):
            return {**outputs, "leaderStack": self.leader.name}
        offered = {"version": JOIN_VERSION, "postgres": postgres, "redis": redis}
        return {**outputs, "join": {**offered, **self.machines.join()}}
