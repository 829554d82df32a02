"""The leader of a cluster: ingests, visualizes, and runs the one PostgreSQL and the shared Redis."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import route53

from components.aws.leader_machine import LeaderMachine, LeaderMachineArgs
from components.aws.node_documents import NodeDocument, boot_script, store_specification
from components.aws.node_role import NodeRoleArgs, node_role
from components.aws.readiness import node_ready
from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.endpoint import Endpoint
from model import settings
from model.specification import POSTGRES_PORT, REDIS_PORT
from model.tags import named
from model.workers import GpuAllocation

NAME = "leader"
"""The leader's name among the nodes of its cluster; no follower may have it."""

DNS_TTL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class LeaderNodeArgs:
    """Inputs of :class:`LeaderNode`."""

    site: AwsSite
    """Network, documents, rights."""

    shared_folder: SharedFolderReference
    """The dataset directory; the leader hands it on to the followers."""

    profile: settings.GpuProfile
    """GPU profile; the leader runs its first instance type. Another type stops and starts the machine."""

    gpu: GpuAllocation
    """GPUs and workers. Changes the specification only; the agent converges in place."""

    leader: settings.Leader
    """The stack's ``leader`` key."""

    availability_zone: str
    """Zone of the machine."""

    delete_data: bool
    """Lifts the protection of the data volume."""


class LeaderNode(pulumi.ComponentResource):
    """The leader.

    Creates: its role, its machine with fixed address and data volume, a private DNS zone and record, its
    specification, the wait for its readiness.
    """

    postgres: Endpoint
    """The cluster's PostgreSQL."""

    redis: Endpoint
    """The Redis of every Nexus and forge-etl-python in the cluster."""

    shared_folder: SharedFolderReference
    """The cluster's dataset directory."""

    address: pulumi.Output[str]
    """Private IPv4 address, fixed."""

    host_name: pulumi.Output[str]
    """Private DNS name, fixed."""

    instance_id: pulumi.Output[str]
    """Id of the present machine."""

    data_volume_id: pulumi.Output[str]
    """Id of the data volume."""

    def __init__(
        self, name: str, args: LeaderNodeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:LeaderNode", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        site = args.site
        instance_type = args.profile.instance_types[0]
        profile = node_role(
            name,
            NodeRoleArgs(node=NAME, role="leader", site=site, shared_folder=args.shared_folder),
            child,
        )
        machine = LeaderMachine(
            name,
            LeaderMachineArgs(
                instance_type=instance_type,
                image=site.image,
                root_volume_gib=args.profile.root_volume_gib,
                data_volume=args.leader.data_volume,
                availability_zone=args.availability_zone,
                zone_pinned=args.leader.availability_zone is not None,
                subnet_id=site.subnet_ids[args.availability_zone],
                security_group_id=site.leader_security_group,
                profile_name=profile.name,
                user_data=boot_script(site, NAME),
                delete_data=args.delete_data,
            ),
            child,
        )
        zone_name = f"{name.removesuffix(f'-{NAME}')}.internal"
        zone = route53.Zone(
            f"{name}-names",
            name=zone_name,
            comment="Private names of a Graphistry cluster",
            vpcs=[route53.ZoneVpcArgs(vpc_id=site.vpc_id)],
            tags=named(f"{name}-names"),
            opts=child,
        )
        record = route53.Record(
            f"{name}-name",
            zone_id=zone.zone_id,
            name=f"{NAME}.{zone_name}",
            type="A",
            ttl=DNS_TTL_SECONDS,
            records=[machine.address],
            opts=child,
        )
        self.host_name = record.fqdn
        self.postgres = Endpoint(host=self.host_name, port=POSTGRES_PORT)
        self.redis = Endpoint(host=self.host_name, port=REDIS_PORT)
        self.shared_folder = args.shared_folder
        self.address = machine.address
        self.instance_id = machine.instance_id
        self.data_volume_id = machine.data_volume_id
        stored = store_specification(
            name,
            site,
            NodeDocument(
                node=NAME,
                role="leader",
                postgres=self.postgres,
                redis=self.redis,
                shared_folder=self.shared_folder,
                instance_types=[instance_type],
                availability_zones=[args.availability_zone],
                gpu=args.gpu,
                data_volume_id=machine.data_volume_id,
            ),
            child,
        )
        node_ready(
            name,
            site,
            NAME,
            {"instance": machine.attached_instance_id},
            stored,
            child,
        )
        self.register_outputs(
            {
                "postgres": self.postgres.as_output(),
                "redis": self.redis.as_output(),
                "shared_folder": self.shared_folder.file_system_id,
                "address": self.address,
            }
        )
