"""Instances."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jmespath

from .. import moto_gaps
from ..aws import Aws, service_properties, tag_map
from ..table import ResourceType
from ..values import Properties, RefusalError
from .network import ec2_tags, filtered
from .reservations import require_reservation, reservation_changed

ROOT_DEVICE = "volumeType volumeSize iops throughput encrypted kmsKeyId deleteOnTermination tags"
METADATA = "httpEndpoint httpTokens httpPutResponseHopLimit httpProtocolIpv6 instanceMetadataTags"


def _run_instance(aws: Aws, inputs: Properties) -> str:
    plain = {
        "ami": "ImageId",
        "instanceType": "InstanceType",
        "subnetId": "SubnetId",
        "vpcSecurityGroupIds": "SecurityGroupIds",
        "ebsOptimized": "EbsOptimized",
        "metadataOptions": "MetadataOptions",
        "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    }
    arguments = aws.arguments("ec2.run_instances", service_properties(inputs, *plain), plain)
    if "iamInstanceProfile" in inputs:
        arguments["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
    if "availabilityZone" in inputs:
        arguments["Placement"] = {"AvailabilityZone": inputs["availabilityZone"]}
    if "primaryNetworkInterface" in inputs:
        interface = inputs["primaryNetworkInterface"]["networkInterfaceId"]
        _require_free_interface(aws, interface)
        arguments["NetworkInterfaces"] = [{"DeviceIndex": 0, "NetworkInterfaceId": interface}]
    if "capacityReservationSpecification" in inputs:
        require_reservation(aws, inputs["capacityReservationSpecification"])
    if "userData" in inputs:
        arguments["UserData"] = inputs["userData"]
    if "userDataBase64" in inputs:
        arguments["UserData"] = base64.b64decode(inputs["userDataBase64"])
    answer = aws.call(
        "ec2.run_instances",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[_root_mapping(aws, inputs)],
        Monitoring={"Enabled": inputs.get("monitoring", False)},
        **arguments,
    )
    identifier = str(answer["Instances"][0]["InstanceId"])
    if "primaryNetworkInterface" not in inputs:
        moto_gaps.own_interfaces(aws, identifier)
    return identifier


def _require_free_interface(aws: Aws, interface: str) -> None:
    answer = aws.call("ec2.describe_network_interfaces", NetworkInterfaceIds=[interface])
    holder = (answer["NetworkInterfaces"][0].get("Attachment") or {}).get("InstanceId")
    if holder and _live_instance(aws, holder) is not None:
        # AWS refuses this, moto would move the interface
        raise RefusalError(
            f"RunInstances: InvalidNetworkInterface.InUse: {interface} is in use by"
            f" {holder}: set delete_before_replace on the instance"
        )
    moto_gaps.release_interfaces(aws, [interface])  # of one that was terminated behind our back


def _root_mapping(aws: Aws, inputs: Properties) -> dict[str, Any]:
    images = aws.call("ec2.describe_images", ImageIds=[inputs["ami"]])["Images"]
    ebs = {"deleteOnTermination": True, **inputs.get("rootBlockDevice", {})}
    renamed = {name[0].upper() + name[1:]: value for name, value in ebs.items() if name != "tags"}
    renamed.setdefault("VolumeSize", 8)
    device = images[0].get("RootDeviceName") if images else None
    return {"DeviceName": device or "/dev/sda1", "Ebs": renamed}


def _root_volume(
    aws: Aws, identifier: str, inputs: Properties
) -> tuple[str, dict[str, Any]] | None:
    """The id and, in Pulumi's names, the properties of an instance's root volume.

    Its tags are those that are asked for and those that are not, or no more, the provider's default ones.
    """
    asked = inputs.get("rootBlockDevice", {}).get("tags", {})
    instance = _live_instance(aws, identifier)
    if instance is None:
        return None
    for mapping in instance.get("BlockDeviceMappings", []):
        if mapping["DeviceName"] == instance.get("RootDeviceName"):
            volume_id = mapping["Ebs"]["VolumeId"]
            volume = aws.call("ec2.describe_volumes", VolumeIds=[volume_id])["Volumes"][0]
            tags = tag_map(volume.get("Tags"))
            own = {
                key: value
                for key, value in tags.items()
                if key in asked or aws.default_tags.get(key) != value
            }
            return volume_id, {
                **volume,
                "volumeId": volume_id,
                "volumeSize": volume["Size"],
                "deviceName": mapping["DeviceName"],
                "deleteOnTermination": mapping["Ebs"]["DeleteOnTermination"],
                "tags": own,
                "tagsAll": tags,
            }
    return None


def _update_root(aws: Aws, identifier: str, inputs: Properties) -> None:
    found = _root_volume(aws, identifier, inputs)
    if found is None:
        return
    volume, present = found
    wanted = inputs.get("rootBlockDevice", {})
    if changes := service_properties(wanted, "volumeType", "iops", "throughput"):
        aws.request("ec2.modify_volume", changes, VolumeId=volume)
    if wanted.get("volumeSize", present["volumeSize"]) != present["volumeSize"]:
        aws.call("ec2.modify_volume", VolumeId=volume, Size=wanted["volumeSize"])
    tags = wanted.get("tags", {})
    # The provider gives a disk its default tags when it makes it and never again (terraform-provider-aws#38301).
    made = {} if present["tagsAll"] else aws.default_tags
    ec2_tags(aws, volume, {**made, **tags}, sorted(present["tags"].keys() - tags.keys()))


def _live_instance(aws: Aws, identifier: str) -> dict[str, Any] | None:
    answer = aws.call("ec2.describe_instances", InstanceIds=[identifier])
    found = jmespath.search("Reservations[0].Instances[0]", answer)
    if not found or found["State"]["Name"] in ("terminated", "shutting-down"):
        return None
    return dict(found)


def _instance(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    instance = _live_instance(aws, identifier)
    if instance is None:
        return None
    interfaces = instance.get("NetworkInterfaces", [])
    primary = interfaces[0]["NetworkInterfaceId"] if interfaces else None
    profile = (instance.get("IamInstanceProfile") or {}).get("Arn", "")
    root = _root_volume(aws, identifier, inputs)
    user_data = _attribute(aws, identifier, "userData") or ""
    return {
        **instance,
        **_user_data_outputs(user_data, inputs),
        "ami": instance["ImageId"],
        "availabilityZone": instance["Placement"]["AvailabilityZone"],
        "instanceState": instance["State"]["Name"],
        "privateDns": instance.get("PrivateDnsName"),
        "privateIp": instance.get("PrivateIpAddress"),
        "publicDns": instance.get("PublicDnsName"),
        "publicIp": instance.get("PublicIpAddress"),
        "iamInstanceProfile": profile.rpartition("/")[2] or None,
        "monitoring": instance["Monitoring"]["State"] == "enabled",
        "vpcSecurityGroupIds": [group["GroupId"] for group in instance["SecurityGroups"]],
        "securityGroups": [],
        "networkInterfaces": None,
        "primaryNetworkInterfaceId": primary,
        "primaryNetworkInterface": {"networkInterfaceId": primary},
        "rootBlockDevice": root[1] if root else None,
        "disableApiTermination": _attribute(aws, identifier, "disableApiTermination"),
        "instanceInitiatedShutdownBehavior": _attribute(
            aws, identifier, "instanceInitiatedShutdownBehavior"
        ),
    }


def _attribute(aws: Aws, identifier: str, name: str) -> Any:
    answer = aws.call("ec2.describe_instance_attribute", InstanceId=identifier, Attribute=name)
    return answer.get(name[0].upper() + name[1:], {}).get("Value")


def _user_data_outputs(encoded: str, inputs: Properties) -> dict[str, Any]:
    if not encoded or "userDataBase64" in inputs:
        return {"userDataBase64": encoded or None}
    return {"userData": base64.b64decode(encoded).decode(errors="replace")}


def _change_while_stopped(aws: Aws, identifier: str, inputs: Properties) -> None:
    """The type and the user data can only be changed on a stopped instance."""
    aws.call("ec2.stop_instances", InstanceIds=[identifier])
    data = inputs.get("userData", "").encode()
    if "userDataBase64" in inputs:
        data = base64.b64decode(inputs["userDataBase64"])
    # moto expects user data encoded once more than AWS does
    encoded = base64.b64encode(data)
    for name, value in (("InstanceType", inputs["instanceType"]), ("UserData", encoded)):
        argument = {name: {"Value": value}}
        aws.call("ec2.modify_instance_attribute", InstanceId=identifier, **argument)
    aws.call("ec2.start_instances", InstanceIds=[identifier])


def _instance_flags(aws: Aws, identifier: str, inputs: Properties) -> None:
    for name in ("ebsOptimized", "disableApiTermination"):
        argument = {name[0].upper() + name[1:]: {"Value": inputs[name]}}
        aws.call("ec2.modify_instance_attribute", InstanceId=identifier, **argument)


def _shutdown_behavior(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call(
        "ec2.modify_instance_attribute",
        InstanceId=identifier,
        Attribute="instanceInitiatedShutdownBehavior",
        Value=inputs["instanceInitiatedShutdownBehavior"],
    )


def _instance_groups(aws: Aws, identifier: str, inputs: Properties) -> None:
    groups = inputs.get("vpcSecurityGroupIds", [])
    aws.call("ec2.modify_instance_attribute", InstanceId=identifier, Groups=groups)


def _instance_profile(aws: Aws, identifier: str, inputs: Properties) -> None:
    filters = filtered(instance_id=identifier)
    answer = aws.call("ec2.describe_iam_instance_profile_associations", Filters=filters)
    profile = {"Name": inputs.get("iamInstanceProfile", "")}
    present = answer["IamInstanceProfileAssociations"]
    for association in present if not profile["Name"] else []:
        aws.call(
            "ec2.disassociate_iam_instance_profile", AssociationId=association["AssociationId"]
        )
    if profile["Name"] and present:
        aws.call(
            "ec2.replace_iam_instance_profile_association",
            AssociationId=present[0]["AssociationId"],
            IamInstanceProfile=profile,
        )
    elif profile["Name"]:
        aws.call(
            "ec2.associate_iam_instance_profile", InstanceId=identifier, IamInstanceProfile=profile
        )


def _monitoring(aws: Aws, identifier: str, inputs: Properties) -> None:
    moto_gaps.set_monitoring(aws, identifier, inputs.get("monitoring", False))


def _metadata_options(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.request(
        "ec2.modify_instance_metadata_options",
        inputs.get("metadataOptions", {}),
        InstanceId=identifier,
    )


def _maintenance_options(aws: Aws, identifier: str, inputs: Properties) -> None:
    """Nothing to do: see `moto_gaps.REMEMBERED`."""


def _reservation(aws: Aws, identifier: str, inputs: Properties) -> None:
    """As the type: the provider stops the machine for it."""
    aws.call("ec2.stop_instances", InstanceIds=[identifier])
    reservation_changed(aws, identifier, inputs)
    aws.call("ec2.start_instances", InstanceIds=[identifier])


def _terminate(aws: Aws, identifier: str, inputs: Properties) -> None:
    instance = _live_instance(aws, identifier)
    if instance is None:
        return
    aws.call("ec2.terminate_instances", InstanceIds=[identifier])
    attached = [item["NetworkInterfaceId"] for item in instance.get("NetworkInterfaces", [])]
    moto_gaps.release_interfaces(aws, attached)


TYPES = {
    "aws:ec2/instance:Instance": ResourceType(
        fixed="ami availabilityZone subnetId primaryNetworkInterface"
        " rootBlockDevice.encrypted rootBlockDevice.kmsKeyId"
        " rootBlockDevice.deleteOnTermination",
        updates={
            "instanceType userData userDataBase64": _change_while_stopped,
            "rootBlockDevice": _update_root,
            "ebsOptimized disableApiTermination": _instance_flags,
            "instanceInitiatedShutdownBehavior": _shutdown_behavior,
            "vpcSecurityGroupIds": _instance_groups,
            "iamInstanceProfile": _instance_profile,
            "monitoring": _monitoring,
            "metadataOptions": _metadata_options,
            "maintenanceOptions": _maintenance_options,
            "capacityReservationSpecification": _reservation,
        },
        later="disableApiTermination",
        # moto's RunInstances drops iops and throughput of the root volume, and its tags come after.
        twice="rootBlockDevice",
        fixed_if={
            "userData": "userDataReplaceOnChange",
            "userDataBase64": "userDataReplaceOnChange",
        },
        local="userDataReplaceOnChange",
        needed="ami instanceType",
        nested={
            "metadataOptions": METADATA,
            "rootBlockDevice": ROOT_DEVICE,
            "primaryNetworkInterface": "networkInterfaceId",
            "maintenanceOptions": "autoRecovery",
            "capacityReservationSpecification": "capacityReservationPreference capacityReservationTarget",
            "capacityReservationSpecification.capacityReservationTarget": "capacityReservationId",
        },
        defaults={
            "ebsOptimized": False,
            "disableApiTermination": False,
            "monitoring": False,
            "instanceInitiatedShutdownBehavior": "stop",
            "capacityReservationSpecification": {"capacityReservationPreference": "open"},
        },
        unordered="vpcSecurityGroupIds",
        create=_run_instance,
        read=_instance,
        delete=_terminate,
        tagger=ec2_tags,
        arn="ec2:instance/{id}",
    ),
}
