"""The machines of a cluster on hosts: the leader's and the followers', who find each other by fixed addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from components.hosts.connection import HostConnection, connection_to
from components.hosts.data_services import DataServices, DataServicesArgs
from components.hosts.host_node import HostNode, HostNodeArgs, step
from components.hosts.hosts_cluster import HostsCluster
from components.leader_node import NAME as LEADER
from components.machines import Node
from model.settings.hosts import FollowersOnHosts, HostsSettings
from model.specification import (
    DATA_FOLDER,
    STORE,
    Endpoint,
    Role,
    canonical_json,
    hosts_shared_folder,
    hosts_specification,
)
from model.workers import node_allocation

POSTGRES_VOLUME = "graphistry-cluster-postgres"
"""Name of the Docker volume on the leader's host, where PostgreSQL is a container of this program's."""


@dataclass(frozen=True, kw_only=True)
class HostsMachinesArgs:
    """Inputs of :class:`HostsMachines`."""

    settings: FollowersOnHosts
    """The stack file, with a leader or without."""

    cluster: HostsCluster
    """What the nodes have in common; of the leader's stack, where another has the leader."""

    stack: str
    """Pulumi stack, by which the leader of another stack knows these followers."""


@dataclass(frozen=True, kw_only=True)
class SharedFolder:
    """Where the dataset directory is."""

    place: str
    """As in ``mount``: ``server:/folder``, or the path where it is mounted already."""

    def as_output(self) -> pulumi.Output[str]:
        """The place."""
        return pulumi.Output.from_input(self.place)


class HostsMachines:
    """The machines of one stack on hosts."""

    def __init__(self, name: str, args: HostsMachinesArgs, cluster: pulumi.Resource) -> None:
        self.args, self._name = args, name
        self._child = pulumi.ResourceOptions(parent=cluster)
        self.shared_folder = SharedFolder(place=args.cluster.shared_folder_place)
        own = isinstance(args.settings, HostsSettings)
        self.leader = HostMachine(machines=self, node=LEADER, role="leader") if own else None
        self.admission = None if own else self._be_admitted()
        self.kept_data: dict[str, pulumi.Output[str]] = {}

    def follower(self, node: str) -> HostMachine:
        """The machine of a follower by name."""
        return HostMachine(machines=self, node=node, role="follower")

    def complete(self) -> None:
        """Say what is kept, and where; nothing is on followers of another stack's leader."""
        if self.leader is None:
            return
        leader, cluster = self.args.cluster.leader_address, self.args.cluster
        contained = cluster.data_services == "containers"
        places = {
            "postgres": f"{leader}: Docker volume {POSTGRES_VOLUME}"
            if contained
            else f"{leader}:{DATA_FOLDER}",
            "sharedFolder": self.shared_folder.place,
            "secret": f"{leader}:{STORE}/secret.json",
        }
        self.kept_data |= {what: pulumi.Output.from_input(place) for what, place in places.items()}

    def _be_admitted(self) -> pulumi.Resource:
        """The leader's firewall and exports are its own agent's: it is told whom to let in beside its own."""
        admit = step("host_admission")
        return local.Command(
            f"{self._name}-admission",
            create=f"{admit} {' '.join(self.args.settings.follower_addresses)}".rstrip(),
            delete=admit,
            environment={"LEADER": self.leader_connection.as_variable(), "STACK": self.args.stack},
            add_previous_output_in_env=False,
            opts=self._child,
        )

    def join(self) -> dict[str, pulumi.Input[object]]:
        """What followers of other stacks need of this one."""
        return self.args.cluster.as_join()

    def exports(self) -> dict[str, pulumi.Input[object]]:
        """``leader`` and ``followers``: what an operator needs next."""
        settings = self.args.settings
        described: dict[str, dict[str, object]] = {
            node: {
                "profile": entry.profile,
                "gpus": node_allocation(settings, node).gpus,
                "host": entry.host.address,
                "address": settings.private_address(node),
                "shell": self.connection(node).by_hand(),
                "portForward": self.connection(node).by_hand("-N -L 8080:localhost:80 "),
            }
            for node, entry in settings.nodes.items()
        }
        leader = {LEADER: described.pop(LEADER)} if self.leader else {}
        return {**leader, "followers": described}

    def connection(self, node: str) -> HostConnection:
        """How to reach a node's host."""
        return connection_to(self.args.settings, self.args.settings.nodes[node].host)

    @property
    def leader_connection(self) -> HostConnection:
        """How to reach the leader's host, with this stack's key whichever stack has it."""
        return connection_to(self.args.settings, self.args.cluster.leader)


@dataclass(kw_only=True)
class HostMachine:
    """The host of one node."""

    machines: HostsMachines
    """What it has in common with the others."""

    node: str
    """The node's name."""

    role: Role
    """What it is in the cluster."""

    delivered: pulumi.Resource | None = None
    """The delivery of the specification, once there is one."""

    data_services: list[pulumi.Resource] = field(default_factory=list)
    """The leader's PostgreSQL and Redis if this program runs them, once they are there: every node waits for them."""

    def provision(self, name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
        """The host is there; where followers reach its data services."""
        return pulumi.Output.from_input(self.machines.args.cluster.leader_reached)

    def converge(self, name: str, node: Node, parent: pulumi.Resource) -> None:
        """Bring the secret variables, deliver agent and specification, bring a follower the secret, wait until the host
        is what it should be."""
        opts = pulumi.ResourceOptions(parent=parent)
        release = self.machines.args.cluster.release
        source = release.source
        host = HostNode(
            name,
            HostNodeArgs(
                connection=self.machines.connection(self.node),
                leader=None if self.role == "leader" else self.machines.leader_connection,
                admission=self.machines.admission,
                has_containers=self.role == "leader"
                and self.machines.args.cluster.data_services == "containers",
                release=Path(source.removeprefix("file:")) if source.startswith("file:") else None,
                release_sha256=release.sha256,
            ),
            opts,
        )
        secret_env = host.receive_secret_env(self.machines.args.settings.secret_env)
        specification = self._specification(node, host.agent_sha256, secret_env)
        self.delivered = host.deliver(specification)
        if self.role == "leader":
            services = self._data_services(name, host, self.delivered, opts)
            self.data_services = services
        else:
            leader = self.machines.leader
            before = [leader.delivered] if leader and leader.delivered else []
            after = [self.delivered, *before]
            host.receive_secret(after)
            if self.machines.args.cluster.encryption:
                address = self.machines.args.settings.private_address(self.node)
                host.meet_leader(self.machines.args.cluster.leader_address, address, after)
            # Without them a follower would wait for a PostgreSQL that nobody has started.
            services = leader.data_services if leader else []
        host.wait(specification, [self.delivered, *services])

    def _specification(
        self, node: Node, agent_sha256: str, secret_env: pulumi.Output[str | None]
    ) -> pulumi.Output[str]:
        settings, cluster = self.machines.args.settings, self.machines.args.cluster
        followers = settings.follower_addresses if self.role == "leader" else []

        def content(known: dict[str, Any]) -> str:
            return canonical_json(
                hosts_specification(
                    cluster=cluster.cluster,
                    node=self.node,
                    joined_stack=None
                    if isinstance(settings, HostsSettings)
                    else self.machines.args.stack,
                    role=self.role,
                    address=settings.private_address(self.node),
                    tunnel_to=cluster.leader_address if cluster.encryption else None,
                    agent_sha256=agent_sha256,
                    postgres=Endpoint(host=known["postgres"], port=node.postgres.port),
                    redis=Endpoint(host=known["redis"], port=node.redis.port),
                    shared_folder=hosts_shared_folder(
                        cluster.shared_folder, self.role, cluster.leader_reached, followers
                    ),
                    data_services=cluster.data_services,
                    followers=followers,
                    telemetry=settings.telemetry.allowed_cidrs,
                    gpu=node.gpu,
                    release=cluster.release,
                    configuration=node.configuration,
                    secret_env=known["secret_env"],
                )
            )

        return pulumi.Output.all(
            postgres=node.postgres.host, redis=node.redis.host, secret_env=secret_env
        ).apply(content)

    def _data_services(
        self, name: str, host: HostNode, delivered: pulumi.Resource, opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        settings = self.machines.args.settings
        if not isinstance(settings, HostsSettings):
            return []
        images = settings.data_services
        if images.postgres_image is None or images.redis_image is None:
            return []
        made = DataServices(
            f"{name}-data-services",
            DataServicesArgs(
                connection=self.machines.connection(self.node),
                address=self.machines.args.cluster.leader_reached,
                postgres_image=images.postgres_image,
                redis_image=images.redis_image,
                volume=POSTGRES_VOLUME,
                delivered=delivered,
                removal=host.removal,
            ),
            opts,
        )
        return [made]
