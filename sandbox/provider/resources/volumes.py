"""Network interfaces and volumes: what a machine is given and what outlives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..aws import Aws, service_properties
from ..table import ResourceType, created, deleted, described, modified
from ..values import Properties
from .network import ec2_tags


def _create_interface(aws: Aws, inputs: Properties) -> str:
    plain = service_properties(inputs, "subnetId", "securityGroups", "description")
    addresses = [
        {"PrivateIpAddress": address, "Primary": index == 0}
        for index, address in enumerate(inputs.get("privateIps", []))
    ]
    extra: dict[str, Any] = {"PrivateIpAddresses": addresses} if addresses else {}
    renamed = {"securityGroups": "Groups"}
    answer = aws.request("ec2.create_network_interface", plain, renamed, **extra)
    return str(answer["NetworkInterface"]["NetworkInterfaceId"])


def _update_interface(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call(
        "ec2.modify_network_interface_attribute",
        NetworkInterfaceId=identifier,
        Groups=inputs.get("securityGroups", []),
        Description={"Value": inputs.get("description", "")},
    )


def _delete_volume(aws: Aws, identifier: str, inputs: Properties) -> None:
    """As the provider does it: a snapshot with the volume's tags first, where that is wanted."""
    if inputs.get("finalSnapshot"):
        (volume,) = aws.call("ec2.describe_volumes", VolumeIds=[identifier])["Volumes"]
        tags = [{"ResourceType": "snapshot", "Tags": volume["Tags"]}] if volume["Tags"] else []
        aws.call("ec2.create_snapshot", VolumeId=identifier, TagSpecifications=tags)
    aws.call("ec2.delete_volume", VolumeId=identifier)


def _attach_volume(aws: Aws, inputs: Properties) -> str:
    aws.call(
        "ec2.attach_volume",
        Device=inputs["deviceName"],
        InstanceId=inputs["instanceId"],
        VolumeId=inputs["volumeId"],
    )
    return f"{inputs['deviceName']}:{inputs['volumeId']}:{inputs['instanceId']}"


def _attachment(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    device, volume, instance = identifier.split(":")
    answer = aws.call("ec2.describe_volumes", VolumeIds=[volume])
    for attachment in answer["Volumes"][0]["Attachments"]:
        if (attachment["Device"], attachment["InstanceId"]) == (device, instance):
            return {**attachment, "deviceName": device}
    return None


def _detach_volume(aws: Aws, identifier: str, inputs: Properties) -> None:
    if _attachment(aws, identifier, inputs) is None:
        return
    device, volume, instance = identifier.split(":")
    if inputs.get("stopInstanceBeforeDetaching"):
        aws.call("ec2.stop_instances", InstanceIds=[instance])
    aws.call("ec2.detach_volume", Device=device, VolumeId=volume, InstanceId=instance)


TYPES = {
    "aws:ec2/networkInterface:NetworkInterface": ResourceType(
        fixed="subnetId privateIps",
        updates={"securityGroups description": _update_interface},
        unordered="securityGroups",
        create=_create_interface,
        read=described(
            "ec2.describe_network_interfaces",
            "NetworkInterfaceIds",
            "NetworkInterfaces[0]",
            securityGroups="Groups[].GroupId",
            tags="TagSet",
            privateIp="PrivateIpAddress",
            privateIps="PrivateIpAddresses[].PrivateIpAddress",
        ),
        delete=deleted("ec2.delete_network_interface", "NetworkInterfaceId"),
        tagger=ec2_tags,
        arn="ec2:network-interface/{id}",
    ),
    "aws:ebs/volume:Volume": ResourceType(
        fixed="availabilityZone encrypted kmsKeyId snapshotId",
        local="finalSnapshot",
        updates=modified(
            "ec2.modify_volume", "VolumeId", "size type iops throughput", {"type": "VolumeType"}
        ),
        defaults={"encrypted": False},
        create=created("ec2.create_volume", "VolumeId", {"type": "VolumeType"}),
        read=described("ec2.describe_volumes", "VolumeIds", "Volumes[0]", type="VolumeType"),
        delete=_delete_volume,
        tagger=ec2_tags,
        arn="ec2:volume/{id}",
    ),
    "aws:ec2/volumeAttachment:VolumeAttachment": ResourceType(
        fixed="deviceName instanceId volumeId",
        local="stopInstanceBeforeDetaching",
        create=_attach_volume,
        read=_attachment,
        delete=_detach_volume,
        replace_by_deleting=True,
    ),
}
