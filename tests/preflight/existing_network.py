"""An existing network in moto, as a stack file names one: private subnets, a NAT gateway, an S3 endpoint."""

from __future__ import annotations

from typing import Any

from tests.model.examples import SMALLEST
from tests.preflight.situations import REGION, aws_client

ZONES = ("us-east-1a", "us-east-1b")
OPEN = [
    {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.40.0.0/16"}]}
]
NFS = [
    {
        "IpProtocol": "tcp",
        "FromPort": 2049,
        "ToPort": 2049,
        "IpRanges": [{"CidrIp": "10.40.0.0/16"}],
    }
]


class ExistingNetwork:
    """A VPC with two private subnets in which every node works; what a test takes away is missing."""

    def __init__(
        self, *subnet_blocks: str, block: str = "10.40.0.0/16", nat: bool = True, s3: bool = True
    ) -> None:
        self.ec2 = aws_client("ec2")
        self.efs = aws_client("efs")
        self.vpc = self.ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        blocks = subnet_blocks or ("10.40.0.0/24", "10.40.1.0/24")
        self.subnets = [
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=each, AvailabilityZone=zone)["Subnet"][
                "SubnetId"
            ]
            for each, zone in zip(blocks, ZONES, strict=True)
        ]
        (main,) = self.ec2.describe_route_tables(
            Filters=[{"Name": "vpc-id", "Values": [self.vpc]}]
        )["RouteTables"]
        self.table = main["RouteTableId"]
        if nat:
            self.route("NatGatewayId", self.nat())
        if s3:
            self.ec2.create_vpc_endpoint(
                VpcId=self.vpc, ServiceName=f"com.amazonaws.{REGION}.s3", RouteTableIds=[self.table]
            )

    def nat(self) -> str:
        """A NAT gateway."""
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        made = self.ec2.create_nat_gateway(SubnetId=self.subnets[0], AllocationId=address)
        return str(made["NatGateway"]["NatGatewayId"])

    def route(self, target: str, identifier: str, block: str = "0.0.0.0/0") -> None:
        """A route of the main table."""
        self.ec2.create_route(
            RouteTableId=self.table, DestinationCidrBlock=block, **{target: identifier}
        )

    def group(self, rules: list[dict[str, Any]], name: str = "group") -> str:
        """A security group with these ingress rules; its own id stands for GroupId SELF."""
        made: str = self.ec2.create_security_group(
            GroupName=name, Description=name, VpcId=self.vpc
        )["GroupId"]
        if rules:
            self.ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=rules)
        return made

    def endpoint(self, service: str, rules: list[dict[str, Any]], **other: Any) -> str:
        """An interface endpoint behind a security group with these rules."""
        asked = {
            "VpcId": self.vpc,
            "ServiceName": f"com.amazonaws.{REGION}.{service}",
            "VpcEndpointType": "Interface",
            "SubnetIds": self.subnets,
            "PrivateDnsEnabled": True,
            "SecurityGroupIds": [self.group(rules, f"{service}-endpoint")],
            **other,
        }
        return str(self.ec2.create_vpc_endpoint(**asked)["VpcEndpoint"]["VpcEndpointId"])

    def folder(self, *subnets: str, rules: list[dict[str, Any]] = NFS) -> str:
        """A file system with mount targets behind a group with these rules, in both subnets by default."""
        made: str = self.efs.create_file_system(CreationToken=f"data-{self.vpc}")["FileSystemId"]
        group = self.group(rules, "folder")
        for each in subnets or self.subnets:
            self.efs.create_mount_target(FileSystemId=made, SubnetId=each, SecurityGroups=[group])
        return made

    def stack(self, **keys: Any) -> dict[str, Any]:
        """A stack file that names it."""
        return {**SMALLEST, "network": {"vpcId": self.vpc, "subnetIds": self.subnets}, **keys}

    def with_folder(self, **keys: Any) -> dict[str, Any]:
        """A stack file that names it, and a file system in it."""
        return self.stack(sharedFolder={"fileSystemId": self.folder()}, **keys)
