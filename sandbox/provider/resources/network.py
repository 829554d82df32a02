"""VPC, subnets, gateways, routes, endpoints, flow logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..aws import Aws
from ..table import ResourceType, Update, created, deleted, described
from ..values import Properties, RefusalError


def ec2_tags(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    """The tagger of everything in EC2."""
    if tags:
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        aws.call("ec2.create_tags", Resources=[identifier], Tags=pairs)
    if removed:
        keys = [{"Key": key} for key in removed]
        aws.call("ec2.delete_tags", Resources=[identifier], Tags=keys)


def filtered(**values: str) -> list[dict[str, Any]]:
    """EC2 filters, each for one value; `vpc_id` becomes `vpc-id`."""
    return [{"Name": key.replace("_", "-"), "Values": [value]} for key, value in values.items()]


def _vpc_attribute(name: str) -> Update:
    argument = name[0].upper() + name[1:]

    def update(aws: Aws, identifier: str, inputs: Properties) -> None:
        value = {"Value": inputs[name]}
        aws.call("ec2.modify_vpc_attribute", VpcId=identifier, **{argument: value})

    return update


def _vpc(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("ec2.describe_vpcs", VpcIds=[identifier])["Vpcs"]
    if not found:
        return None
    attributes = {}
    for name in ("EnableDnsSupport", "EnableDnsHostnames"):
        attribute = name[0].lower() + name[1:]
        answer = aws.call("ec2.describe_vpc_attribute", VpcId=identifier, Attribute=attribute)
        attributes[name] = answer[name]["Value"]
    main = [*filtered(vpc_id=identifier), {"Name": "association.main", "Values": ["true"]}]
    tables = aws.call("ec2.describe_route_tables", Filters=main)["RouteTables"]
    table = tables[0]["RouteTableId"] if tables else None
    return {
        **found[0],
        **attributes,
        "mainRouteTableId": table,
        "defaultRouteTableId": table,
        "defaultSecurityGroupId": default_group(aws, identifier)["GroupId"],
    }


def default_group(aws: Aws, vpc: str) -> dict[str, Any]:
    """The security group that every VPC is born with."""
    wanted = filtered(vpc_id=vpc, group_name="default")
    group: dict[str, Any] = aws.call("ec2.describe_security_groups", Filters=wanted)[
        "SecurityGroups"
    ][0]
    return group


def _public_addresses(aws: Aws, identifier: str, inputs: Properties) -> None:
    value = {"Value": inputs["mapPublicIpOnLaunch"]}
    aws.call("ec2.modify_subnet_attribute", SubnetId=identifier, MapPublicIpOnLaunch=value)


def _detach_gateway(aws: Aws, identifier: str) -> None:
    gateway = aws.call("ec2.describe_internet_gateways", InternetGatewayIds=[identifier])
    for attachment in gateway["InternetGateways"][0]["Attachments"]:
        aws.call(
            "ec2.detach_internet_gateway", InternetGatewayId=identifier, VpcId=attachment["VpcId"]
        )


def _attach_gateway(aws: Aws, identifier: str, inputs: Properties) -> None:
    _detach_gateway(aws, identifier)
    if "vpcId" in inputs:
        aws.call("ec2.attach_internet_gateway", InternetGatewayId=identifier, VpcId=inputs["vpcId"])


def _delete_gateway(aws: Aws, identifier: str, inputs: Properties) -> None:
    _detach_gateway(aws, identifier)
    aws.call("ec2.delete_internet_gateway", InternetGatewayId=identifier)


def _own_routes(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The routes someone made: neither the VPC's own nor those of gateway endpoints."""
    names = {"DestinationCidrBlock": "cidrBlock", "GatewayId": "gatewayId"}
    names["NatGatewayId"] = "natGatewayId"
    return [
        {new: route[old] for old, new in names.items() if route.get(old)}
        for route in table["Routes"]
        if route.get("DestinationCidrBlock")
        and route.get("GatewayId") != "local"
        and not str(route.get("GatewayId", "")).startswith("vpce-")
    ]


def _route_table(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    tables = aws.call("ec2.describe_route_tables", RouteTableIds=[identifier])["RouteTables"]
    return {**tables[0], "Routes": _own_routes(tables[0])} if tables else None


def _routes(aws: Aws, identifier: str, inputs: Properties) -> None:
    table = aws.call("ec2.describe_route_tables", RouteTableIds=[identifier])["RouteTables"][0]
    present = {route["cidrBlock"]: route for route in _own_routes(table)}
    wanted = {route["cidrBlock"]: route for route in inputs.get("routes", [])}
    for block in present.keys() - wanted.keys():
        aws.call("ec2.delete_route", RouteTableId=identifier, DestinationCidrBlock=block)
    for block, route in wanted.items():
        if route != present.get(block):
            operation = "ec2.replace_route" if block in present else "ec2.create_route"
            renamed = {"cidrBlock": "DestinationCidrBlock"}
            aws.request(operation, route, renamed, RouteTableId=identifier)


def _route_table_association(
    aws: Aws, identifier: str, inputs: Properties
) -> Mapping[str, Any] | None:
    wanted = [{"Name": "association.route-table-association-id", "Values": [identifier]}]
    for table in aws.call("ec2.describe_route_tables", Filters=wanted)["RouteTables"]:
        for association in table["Associations"]:
            if association["RouteTableAssociationId"] == identifier:
                return dict(association)
    return None


def _endpoint_update(aws: Aws, identifier: str, inputs: Properties) -> None:
    present = aws.call("ec2.describe_vpc_endpoints", VpcEndpointIds=[identifier])["VpcEndpoints"]
    old, new = set(present[0].get("RouteTableIds", [])), set(inputs.get("routeTableIds", []))
    changes: dict[str, Any] = {}
    if new - old:
        changes["AddRouteTableIds"] = sorted(new - old)
    if old - new:
        changes["RemoveRouteTableIds"] = sorted(old - new)
    if "policy" in inputs:
        changes["PolicyDocument"] = inputs["policy"]
    aws.call("ec2.modify_vpc_endpoint", VpcEndpointId=identifier, **changes)


def _create_flow_log(aws: Aws, inputs: Properties) -> str:
    source = {name: value for name, value in inputs.items() if name != "vpcId"}
    answer = aws.request(
        "ec2.create_flow_logs",
        source,
        {"iamRoleArn": "DeliverLogsPermissionArn"},
        ResourceIds=[inputs["vpcId"]],
        ResourceType="VPC",
    )
    for failure in answer.get("Unsuccessful", []):
        # AWS answers 200 here, with the refusal inside.
        raise RefusalError(
            f"CreateFlowLogs: {failure['Error']['Code']}: {failure['Error']['Message']}"
        )
    return str(answer["FlowLogIds"][0])


TYPES = {
    "aws:ec2/vpc:Vpc": ResourceType(
        fixed="cidrBlock",
        needed="cidrBlock",
        updates={
            "enableDnsSupport": _vpc_attribute("enableDnsSupport"),
            "enableDnsHostnames": _vpc_attribute("enableDnsHostnames"),
        },
        later="enableDnsSupport enableDnsHostnames",
        defaults={"enableDnsSupport": True, "enableDnsHostnames": False},
        create=created("ec2.create_vpc", "Vpc.VpcId"),
        read=_vpc,
        delete=deleted("ec2.delete_vpc", "VpcId"),
        tagger=ec2_tags,
        arn="ec2:vpc/{id}",
    ),
    "aws:ec2/subnet:Subnet": ResourceType(
        fixed="vpcId cidrBlock availabilityZone",
        needed="cidrBlock",
        updates={"mapPublicIpOnLaunch": _public_addresses},
        later="mapPublicIpOnLaunch",
        defaults={"mapPublicIpOnLaunch": False},
        create=created("ec2.create_subnet", "Subnet.SubnetId"),
        read=described("ec2.describe_subnets", "SubnetIds", "Subnets[0]", arn="SubnetArn"),
        delete=deleted("ec2.delete_subnet", "SubnetId"),
        tagger=ec2_tags,
    ),
    "aws:ec2/internetGateway:InternetGateway": ResourceType(
        updates={"vpcId": _attach_gateway},
        later="vpcId",
        create=created("ec2.create_internet_gateway", "InternetGateway.InternetGatewayId"),
        read=described(
            "ec2.describe_internet_gateways",
            "InternetGatewayIds",
            "InternetGateways[0]",
            vpcId="Attachments[0].VpcId",
        ),
        delete=_delete_gateway,
        tagger=ec2_tags,
        arn="ec2:internet-gateway/{id}",
    ),
    "aws:ec2/eip:Eip": ResourceType(
        fixed="domain",
        create=created("ec2.allocate_address", "AllocationId"),
        read=described("ec2.describe_addresses", "AllocationIds", "Addresses[0]"),
        delete=deleted("ec2.release_address", "AllocationId"),
        tagger=ec2_tags,
        defaults={"domain": "vpc"},
        arn="ec2:elastic-ip/{id}",
    ),
    "aws:ec2/natGateway:NatGateway": ResourceType(
        fixed="allocationId subnetId connectivityType",
        needed="subnetId",
        defaults={"connectivityType": "public"},
        create=created("ec2.create_nat_gateway", "NatGateway.NatGatewayId"),
        read=described(
            "ec2.describe_nat_gateways",
            "NatGatewayIds",
            "NatGateways[?State!='deleted' && State!='deleting'] | [0]",
            allocationId="NatGatewayAddresses[0].AllocationId",
            publicIp="NatGatewayAddresses[0].PublicIp",
            privateIp="NatGatewayAddresses[0].PrivateIp",
            networkInterfaceId="NatGatewayAddresses[0].NetworkInterfaceId",
        ),
        delete=deleted("ec2.delete_nat_gateway", "NatGatewayId"),
        tagger=ec2_tags,
    ),
    "aws:ec2/routeTable:RouteTable": ResourceType(
        fixed="vpcId",
        updates={"routes": _routes},
        later="routes",
        nested={"routes": "cidrBlock gatewayId natGatewayId"},
        unordered="routes",
        create=created("ec2.create_route_table", "RouteTable.RouteTableId"),
        read=_route_table,
        delete=deleted("ec2.delete_route_table", "RouteTableId"),
        tagger=ec2_tags,
        arn="ec2:route-table/{id}",
    ),
    # The provider changes the table in place and the id with it, which Pulumi's protocol has no
    # way to say: here a change of table replaces.
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ResourceType(
        fixed="subnetId routeTableId",
        needed="subnetId",
        create=created("ec2.associate_route_table", "AssociationId"),
        read=_route_table_association,
        delete=deleted("ec2.disassociate_route_table", "AssociationId"),
        replace_by_deleting=True,
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceType(
        fixed="vpcId serviceName vpcEndpointType",
        needed="serviceName",
        updates={"routeTableIds policy": _endpoint_update},
        defaults={"vpcEndpointType": "Gateway"},
        documents="policy",
        unordered="routeTableIds",
        create=created(
            "ec2.create_vpc_endpoint", "VpcEndpoint.VpcEndpointId", {"policy": "PolicyDocument"}
        ),
        read=described(
            "ec2.describe_vpc_endpoints",
            "VpcEndpointIds",
            "VpcEndpoints[?State!='deleted'] | [0]",
            policy="PolicyDocument",
        ),
        delete=lambda aws, identifier, inputs: aws.call(
            "ec2.delete_vpc_endpoints", VpcEndpointIds=[identifier]
        ),
        tagger=ec2_tags,
        arn="ec2:vpc-endpoint/{id}",
    ),
    "aws:ec2/flowLog:FlowLog": ResourceType(
        fixed="vpcId trafficType logDestinationType logDestination iamRoleArn"
        " maxAggregationInterval",
        needed="vpcId trafficType logDestination",
        defaults={"logDestinationType": "cloud-watch-logs", "maxAggregationInterval": 600},
        create=_create_flow_log,
        read=described(
            "ec2.describe_flow_logs",
            "FlowLogIds",
            "FlowLogs[0]",
            vpcId="ResourceId",
            iamRoleArn="DeliverLogsPermissionArn",
        ),
        delete=lambda aws, identifier, inputs: aws.call(
            "ec2.delete_flow_logs", FlowLogIds=[identifier]
        ),
        tagger=ec2_tags,
        arn="ec2:vpc-flow-log/{id}",
    ),
}
