"""The network a cluster lives in: created here, or one that exists already.

Nodes get private subnets only. Public subnets carry NAT gateways and nothing else. No route, peering or
DNS of the surroundings is managed: a cluster in a company network is given that network's subnets by id.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, ec2, iam

from components.aws.policies import assumable_by, policy
from model.existing_network import Subnet, wrong_subnets
from model.problems import SettingsError
from model.settings import aws as settings
from model.subnets import subnet_blocks
from model.tags import named

FLOW_LOG_RETENTION_DAYS = 365
"""A break-in is often noticed after months (AWS Foundational Security Best Practices, CloudWatch.16)."""


@dataclass(frozen=True, kw_only=True)
class NetworkReference:
    """What the rest of a cluster needs to know of its network, whoever made it."""

    vpc_id: pulumi.Input[str]
    """Id of the VPC."""

    cidr_block: pulumi.Input[str]
    """IPv4 range of the VPC."""

    subnet_ids: Mapping[str, pulumi.Input[str]]
    """Availability zone to the id of the private subnet in it, in the order of preference."""


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Inputs of :class:`Network`."""

    network: settings.Network
    """The stack's ``network`` key. ``cidrBlock`` replaces the whole network; the rest changes in place."""

    availability_zones: tuple[str, ...]
    """Zones that get a private subnet. Adding or removing one leaves the other subnets alone."""

    region: str
    """AWS region, for the name of the S3 endpoint."""

    key: str | None
    """KMS key of the flow logs, or None for AWS's own. A change replaces the log group."""

    def __post_init__(self) -> None:
        if len(self.availability_zones) < 2:
            raise ValueError(
                f"availability_zones: got {list(self.availability_zones)}; a network needs at least two zones"
            )


class Network(pulumi.ComponentResource):
    """A new VPC for one cluster.

    Creates: VPC with a closed default security group, a private subnet per zone, one NAT gateway (or one per
    zone) in small public subnets, route tables, an S3 gateway endpoint and, unless switched off, flow logs.
    """

    reference: NetworkReference
    """What the other components consume."""

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:Network", name, {}, opts)
        self._name = name
        self._child = pulumi.ResourceOptions(parent=self)
        blocks = subnet_blocks(args.network.cidr_block, args.availability_zones)

        self._vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.network.cidr_block,
            # EFS and the leader are found by name, which needs both.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=named(f"{name}-vpc"),
            opts=self._child,
        )
        ec2.DefaultSecurityGroup(
            f"{name}-default-closed",
            vpc_id=self._vpc.id,
            tags=named(f"{name}-default-closed"),
            opts=self._child,
        )
        subnets = {
            zone: ec2.Subnet(
                f"{name}-private-{zone}",
                vpc_id=self._vpc.id,
                availability_zone=zone,
                cidr_block=blocks[zone].private,
                tags=named(f"{name}-private-{zone}"),
                opts=self._child,
            )
            for zone in args.availability_zones
        }
        gateway_zones = args.availability_zones
        if args.network.nat_gateways == "single":
            gateway_zones = gateway_zones[:1]
        private_tables = self._route_out({zone: blocks[zone].public for zone in gateway_zones})
        for zone, subnet in subnets.items():
            ec2.RouteTableAssociation(
                f"{name}-private-{zone}",
                subnet_id=subnet.id,
                route_table_id=private_tables.get(zone, private_tables[gateway_zones[0]]).id,
                opts=self._child,
            )
        ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=self._vpc.id,
            service_name=f"com.amazonaws.{args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in private_tables.values()],
            tags=named(f"{name}-s3"),
            opts=self._child,
        )
        if args.network.flow_logs:
            self._flow_logs(args.key)

        self.reference = NetworkReference(
            vpc_id=self._vpc.id,
            cidr_block=self._vpc.cidr_block,
            subnet_ids={zone: subnet.id for zone, subnet in subnets.items()},
        )
        self.register_outputs({"vpc_id": self._vpc.id})

    def _route_out(self, public_blocks: Mapping[str, str]) -> dict[str, ec2.RouteTable]:
        """One NAT gateway per zone given, and the private route table that leads to it."""
        name, child = self._name, self._child
        internet = ec2.InternetGateway(
            f"{name}-internet",
            vpc_id=self._vpc.id,
            tags=named(f"{name}-internet"),
            opts=child,
        )
        public_table = ec2.RouteTable(
            f"{name}-public",
            vpc_id=self._vpc.id,
            routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=internet.id)],
            tags=named(f"{name}-public"),
            opts=child,
        )
        # Without it AWS refuses them, and does not let go of it while they are there.
        behind = pulumi.ResourceOptions(parent=self, depends_on=[internet])
        private_tables = {}
        for zone, cidr_block in public_blocks.items():
            public = ec2.Subnet(
                f"{name}-public-{zone}",
                vpc_id=self._vpc.id,
                availability_zone=zone,
                cidr_block=cidr_block,
                tags=named(f"{name}-public-{zone}"),
                opts=child,
            )
            ec2.RouteTableAssociation(
                f"{name}-public-{zone}",
                subnet_id=public.id,
                route_table_id=public_table.id,
                opts=child,
            )
            address = ec2.Eip(
                f"{name}-nat-{zone}", domain="vpc", tags=named(f"{name}-nat-{zone}"), opts=behind
            )
            nat = ec2.NatGateway(
                f"{name}-nat-{zone}",
                allocation_id=address.allocation_id,
                subnet_id=public.id,
                tags=named(f"{name}-nat-{zone}"),
                opts=behind,
            )
            private_tables[zone] = ec2.RouteTable(
                f"{name}-private-{zone}",
                vpc_id=self._vpc.id,
                routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", nat_gateway_id=nat.id)],
                tags=named(f"{name}-private-{zone}"),
                opts=child,
            )
        return private_tables

    def _flow_logs(self, key: str | None) -> None:
        """Accepted and rejected connections of the VPC, to a log group of their own."""
        name, child = self._name, self._child
        group = cloudwatch.LogGroup(
            f"{name}-flow-logs",
            retention_in_days=FLOW_LOG_RETENTION_DAYS,
            kms_key_id=key,
            tags=named(f"{name}-flow-logs"),
            opts=child,
        )
        role = iam.Role(
            f"{name}-flow-logs",
            description="Lets VPC flow logs write to their log group",
            assume_role_policy=assumable_by("vpc-flow-logs"),
            tags=named(f"{name}-flow-logs"),
            opts=child,
        )
        iam.RolePolicy(
            f"{name}-flow-logs",
            role=role.name,
            policy=pulumi.Output.json_dumps(
                policy(
                    {
                        "Effect": "Allow",
                        "Action": [
                            "logs:CreateLogStream",
                            "logs:PutLogEvents",
                            "logs:DescribeLogStreams",
                        ],
                        "Resource": pulumi.Output.concat(group.arn, ":*"),
                    }
                )
            ),
            opts=child,
        )
        ec2.FlowLog(
            f"{name}-flow-logs",
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags=named(f"{name}-flow-logs"),
            opts=child,
        )


def existing_network(network: settings.Network, opts: pulumi.InvokeOptions) -> NetworkReference:
    """The reference to a network that the stack file names by ids; nothing is created.

    Raises :class:`SettingsError` when subnets belong to another VPC or share a zone.
    """
    vpc = ec2.get_vpc(id=network.vpc_id, opts=opts)
    found = {each: ec2.get_subnet(id=each, opts=opts) for each in network.subnet_ids}
    subnets = {
        name: Subnet(vpc_id=each.vpc_id, zone=each.availability_zone)
        for name, each in found.items()
    }
    problems = tuple(wrong_subnets(str(network.vpc_id), subnets))
    if problems:
        raise SettingsError(problems)
    return NetworkReference(
        vpc_id=vpc.id,
        cidr_block=vpc.cidr_block,
        subnet_ids={each.zone: name for name, each in subnets.items()},
    )
