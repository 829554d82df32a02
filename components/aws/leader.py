"""The leader on AWS: one instance with a fixed address and a private name, which followers know it by."""

import json
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import route53, secretsmanager

from components.aws.leader_machine import LeaderMachine, LeaderMachineArgs
from components.aws.node_documents import NodeDocument, boot_script, store_specification
from components.aws.node_role import NodeRoleArgs, node_role, role_name
from components.aws.readiness import node_ready
from components.aws.secret_policies import followers_secret_policy, leaders_secret_policy
from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.leader_node import NAME
from components.machines import Node
from model.settings import aws as settings
from model.tags import named

DNS_TTL_SECONDS = 60


@dataclass(kw_only=True)
class AwsLeader:
    """The leader's machine, whose attributes are known once it is provisioned."""

    site: AwsSite
    """Network, documents, rights."""

    secret_arn: pulumi.Output[str]
    """The secret that this node alone reads, and fills at its first boot."""

    vpc_id: pulumi.Input[str]
    """VPC of the cluster, for its private names."""

    security_group_id: pulumi.Input[str]
    """The leader's group."""

    shared_folder: SharedFolderReference
    """File system that the node mounts."""

    profile: settings.GpuProfile
    """GPU profile; the leader runs its first instance type. Another type stops and starts the machine."""

    leader: settings.Leader
    """The stack's ``leader`` key."""

    availability_zone: str
    """Zone of the machine."""

    delete_data: bool
    """Lifts the protection of the data volume."""

    host_name: pulumi.Output[str] = field(init=False)
    """Private DNS name, fixed."""

    address: pulumi.Output[str] = field(init=False)
    """Private IPv4 address, fixed."""

    instance_id: pulumi.Output[str] = field(init=False)
    """Id of the present machine."""

    data_volume_id: pulumi.Output[str] = field(init=False)
    """Id of the data volume."""

    _attached: pulumi.Output[str] = field(init=False)

    _role: pulumi.Output[str] = field(init=False)

    def provision(self, name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
        """Make role, machine with fixed address and data volume, private DNS zone and record; the name."""
        opts = pulumi.ResourceOptions(parent=parent)
        site = self.site
        profile = node_role(
            name,
            NodeRoleArgs(
                node=NAME,
                leaders_secret_arn=self.secret_arn,
                site=site,
                shared_folder=self.shared_folder,
            ),
            opts,
        )
        machine = LeaderMachine(
            name,
            LeaderMachineArgs(
                instance_type=self.profile.instance_types[0],
                image=site.image,
                root_volume_gib=self.profile.root_volume_gib,
                leader=self.leader,
                availability_zone=self.availability_zone,
                subnet_id=site.subnet_ids[self.availability_zone],
                security_group_id=self.security_group_id,
                profile_name=profile.name,
                user_data=boot_script(site, NAME),
                containers_use_role=site.containers_use_role,
                tags=site.tags,
                key=site.encryption_key,
                delete_data=self.delete_data,
            ),
            opts,
        )
        zone_name = f"{name.removesuffix(f'-{NAME}')}.internal"
        zone = route53.Zone(
            f"{name}-names",
            name=zone_name,
            comment="Private names of a Graphistry cluster",
            vpcs=[route53.ZoneVpcArgs(vpc_id=self.vpc_id)],
            tags=named(f"{name}-names"),
            opts=opts,
        )
        record = route53.Record(
            f"{name}-name",
            zone_id=zone.zone_id,
            name=f"{NAME}.{zone_name}",
            type="A",
            ttl=DNS_TTL_SECONDS,
            records=[machine.address],
            opts=opts,
        )
        self.host_name, self.address = record.fqdn, machine.address
        self.instance_id, self._attached = machine.instance_id, machine.attached_instance_id
        self.data_volume_id = machine.data_volume_id
        self._role = profile.role_arn
        return self.host_name

    def converge(self, name: str, node: Node, parent: pulumi.Resource) -> None:
        """Store the specification, wait until the machine is what it says, and close the secrets to nodes then.

        What closes them goes with the machines: it waits for one, and what is kept would keep that.
        """
        opts = pulumi.ResourceOptions(parent=parent)
        stored = store_specification(
            name,
            self.site,
            NodeDocument(
                node=node,
                role="leader",
                shared_folder=self.shared_folder,
                instance_types=[self.profile.instance_types[0]],
                availability_zones=[self.availability_zone],
                data_volume_id=self.data_volume_id,
                leaders_secret_arn=self.secret_arn,
            ),
            opts,
        )
        ready = node_ready(name, self.site, node.name, {"instance": self._attached}, stored, opts)
        region = self.site.region
        roles = f"arn:{region.partition}:iam::{region.account_id}:role{self.site.role_path}"
        leaders = self._role.apply(
            lambda role: json.dumps(leaders_secret_policy(roles, role, role_name(name)))
        )
        for what, secret_arn, document in (
            ("secret", self.secret_arn, leaders),
            (
                "followers-secret",
                self.site.followers_secret_arn,
                json.dumps(followers_secret_policy(roles)),
            ),
        ):
            secretsmanager.SecretPolicy(
                f"{name}-{what}-closed",
                secret_arn=secret_arn,
                policy=document,
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[ready])),
            )
