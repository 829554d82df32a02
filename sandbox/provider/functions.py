"""The provider functions (`aws.ec2.get_ami` and the like): each asks moto."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..account import ACCOUNT
from . import moto_gaps
from .aws import Aws, tag_list, tag_map
from .values import Properties, RefusalError

Answer = Callable[[Aws, Properties], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function: the arguments it models, those it needs, and its answer in any names."""

    answer: Answer
    arguments: str = "region"
    needed: str = ""
    secret: str = ""
    """The part of the answer that is always secret."""


def _filters(inputs: Properties, **more: str) -> list[dict[str, Any]]:
    given = [{"Name": item["name"], "Values": item["values"]} for item in inputs.get("filters", [])]
    own = [{"Name": more[name], "Values": [inputs[name]]} for name in more if name in inputs]
    tags = [
        {"Name": f"tag:{key}", "Values": [value]} for key, value in inputs.get("tags", {}).items()
    ]
    return [*given, *own, *tags]


def _one(items: list[Any], what: str, how: str) -> dict[str, Any]:
    if len(items) != 1:
        raise RefusalError(f"{len(items)} {what} match and exactly one must: {how}")
    return dict(items[0])


def _caller_identity(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    caller = aws.call("sts.get_caller_identity")
    return {"accountId": caller["Account"], "arn": caller["Arn"], "userId": caller["UserId"]}


def _partition(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    names = {"dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}
    return {"partition": "aws", "id": "aws", **names}


def _region(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    return {
        "name": aws.region,
        "region": aws.region,
        "id": aws.region,
        "description": aws.region,
        "endpoint": f"ec2.{aws.region}.amazonaws.com",
    }


def _zones(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    answer = aws.call("ec2.describe_availability_zones", Filters=_filters(inputs))
    zones = [
        zone
        for zone in answer["AvailabilityZones"]
        if zone["State"] == inputs.get("state", zone["State"])
        and zone["ZoneName"] not in inputs.get("excludeNames", [])
    ]
    return {
        "id": aws.region,
        "names": sorted(zone["ZoneName"] for zone in zones),
        "zoneIds": sorted(zone["ZoneId"] for zone in zones),
        "groupNames": sorted({zone.get("GroupName", aws.region) for zone in zones}),
    }


def _offerings(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    offerings = aws.pages(
        "ec2.describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType=inputs.get("locationType", "region"),
        Filters=_filters(inputs),
    )
    return {
        "id": aws.region,
        "instanceTypes": [offering["InstanceType"] for offering in offerings],
        "locations": [offering["Location"] for offering in offerings],
        "locationTypes": [offering["LocationType"] for offering in offerings],
    }


def _instances(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    states = {
        "Name": "instance-state-name",
        "Values": inputs.get("instanceStateNames", ["running"]),
    }
    reservations = aws.pages(
        "ec2.describe_instances", "Reservations", Filters=[*_filters(inputs), states]
    )
    found = [each for reservation in reservations for each in reservation["Instances"]]
    return {
        "id": aws.region,
        "ids": [each["InstanceId"] for each in found],
        "privateIps": [each["PrivateIpAddress"] for each in found if "PrivateIpAddress" in each],
        "publicIps": [each["PublicIpAddress"] for each in found if "PublicIpAddress" in each],
        "ipv6Addresses": [],
    }


def _subnet(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    filters = _filters(inputs, id="subnet-id", vpcId="vpc-id", availabilityZone="availability-zone")
    found = aws.call("ec2.describe_subnets", Filters=filters)["Subnets"]
    subnet = _one(found, "subnets", "give the id, or narrower filters")
    return {
        **subnet,
        "id": subnet["SubnetId"],
        "arn": subnet["SubnetArn"],
        "tags": tag_map(subnet.get("Tags")),
        "availableIpAddressCount": subnet["AvailableIpAddressCount"],
    }


def _vpc(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    filters = _filters(inputs, id="vpc-id", cidrBlock="cidr")
    if "default" in inputs:
        value = str(inputs["default"]).lower()
        filters.append({"Name": "is-default", "Values": [value]})
    found = aws.call("ec2.describe_vpcs", Filters=filters)["Vpcs"]
    vpc = _one(found, "VPCs", "give the id, or narrower filters")
    attributes = {
        name: aws.call("ec2.describe_vpc_attribute", VpcId=vpc["VpcId"], Attribute=name)[
            name[0].upper() + name[1:]
        ]["Value"]
        for name in ("enableDnsSupport", "enableDnsHostnames")
    }
    return {
        **vpc,
        **attributes,
        "id": vpc["VpcId"],
        "arn": aws.arn("ec2", f"vpc/{vpc['VpcId']}"),
        "default": vpc["IsDefault"],
        "tags": tag_map(vpc.get("Tags")),
    }


def _image(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    moto_gaps.prepare_region(aws)
    owners = {"Owners": inputs["owners"]} if "owners" in inputs else {}
    deprecated = {"IncludeDeprecated": inputs.get("includeDeprecated", False)}
    found = aws.call("ec2.describe_images", Filters=_filters(inputs), **owners, **deprecated)
    pattern = re.compile(inputs.get("nameRegex", ""))
    images = [image for image in found["Images"] if pattern.search(image.get("Name", ""))]
    if inputs.get("mostRecent"):
        images = sorted(images, key=lambda image: str(image["CreationDate"]))[-1:]
    image = _one(images, "images", "set mostRecent, or narrower filters")
    return {
        **image,
        "id": image["ImageId"],
        "arn": f"arn:aws:ec2:{aws.region}::image/{image['ImageId']}",
        "tags": tag_map(image.get("Tags")),
        "blockDeviceMappings": [],
        "productCodes": [],
        "stateReason": {},
    }


def _parameter(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    moto_gaps.prepare_region(aws)
    decrypt = inputs.get("withDecryption", True)
    answer = aws.call("ssm.get_parameter", Name=inputs["name"], WithDecryption=decrypt)
    parameter = answer["Parameter"]
    plain = parameter["Value"] if parameter["Type"] != "SecureString" else ""
    return {
        **{name: value for name, value in parameter.items() if name != "Value"},
        "id": inputs["name"],
        "arn": parameter.get("ARN"),
        "value": parameter["Value"],
        "insecureValue": plain,
    }


def _file_system(aws: Aws, inputs: Properties) -> Mapping[str, Any]:
    wanted = {
        argument: inputs[name]
        for name, argument in (("fileSystemId", "FileSystemId"), ("creationToken", "CreationToken"))
        if name in inputs
    }
    found = aws.call("efs.describe_file_systems", **wanted)["FileSystems"]
    tags = {(tag["Key"], tag["Value"]) for tag in tag_list(inputs.get("tags", {}))}
    matching = [
        item for item in found if tags <= {(tag["Key"], tag["Value"]) for tag in item["Tags"]}
    ]
    system = _one(matching, "file systems", "give fileSystemId")
    identifier = system["FileSystemId"]
    operation = "efs.describe_lifecycle_configuration"
    return {
        **system,
        "id": identifier,
        "arn": system["FileSystemArn"],
        "dnsName": f"{identifier}.efs.{aws.region}.amazonaws.com",
        "sizeInBytes": system["SizeInBytes"]["Value"],
        "tags": tag_map(system["Tags"]),
        "lifecyclePolicies": aws.call(operation, FileSystemId=identifier)["LifecyclePolicies"],
    }


FUNCTIONS = {
    "aws:index/getCallerIdentity:getCallerIdentity": Function(
        answer=lambda aws, inputs: {"id": ACCOUNT, **_caller_identity(aws, inputs)},
    ),
    "aws:index/getPartition:getPartition": Function(answer=_partition),
    "aws:index/getRegion:getRegion": Function(answer=_region),
    "aws:index/getAvailabilityZones:getAvailabilityZones": Function(
        answer=_zones, arguments="region state filters excludeNames"
    ),
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": Function(
        answer=_offerings, arguments="region filters locationType"
    ),
    "aws:ec2/getInstances:getInstances": Function(
        answer=_instances, arguments="region filters instanceStateNames"
    ),
    "aws:ec2/getSubnet:getSubnet": Function(
        answer=_subnet, arguments="region id vpcId availabilityZone filters tags"
    ),
    "aws:ec2/getVpc:getVpc": Function(
        answer=_vpc, arguments="region id cidrBlock default filters tags"
    ),
    "aws:ec2/getAmi:getAmi": Function(
        answer=_image, arguments="region filters owners nameRegex mostRecent includeDeprecated"
    ),
    "aws:ssm/getParameter:getParameter": Function(
        answer=_parameter,
        arguments="region name withDecryption",
        needed="name",
        secret="value",  # noqa: S106 - the provider seals it whatever the parameter's type
    ),
    "aws:efs/getFileSystem:getFileSystem": Function(
        answer=_file_system, arguments="region fileSystemId creationToken tags"
    ),
}
