"""Instances, network interfaces, volumes, launch templates, Auto Scaling groups."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jmespath
from botocore.exceptions import ClientError

from .. import moto_gaps
from ..aws import Aws, service_properties, tag_map
from ..table import ResourceType, created, deleted, described, modified
from ..values import Properties, RefusalError
from .network import ec2_tags, filtered

ROOT_DEVICE = "volumeType volumeSize iops throughput encrypted kmsKeyId deleteOnTermination tags"
METADATA = "httpEndpoint httpTokens httpPutResponseHopLimit httpProtocolIpv6 instanceMetadataTags"
EBS = "deleteOnTermination encrypted iops kmsKeyId snapshotId throughput volumeSize volumeType"
TEMPLATE_DATA = (
    "imageId instanceType iamInstanceProfile userData metadataOptions blockDeviceMappings"
    " vpcSecurityGroupIds networkInterfaces tagSpecifications ebsOptimized monitoring"
    " instanceInitiatedShutdownBehavior"
)
GROUP_SETTINGS = (
    "minSize maxSize desiredCapacity vpcZoneIdentifiers mixedInstancesPolicy healthCheckType"
    " healthCheckGracePeriod capacityRebalance defaultInstanceWarmup protectFromScaleIn"
    " terminationPolicies"
)


# Network interfaces and volumes


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


# Instances


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


def _root_volume(aws: Aws, identifier: str) -> tuple[str, dict[str, Any]] | None:
    """The id and, in Pulumi's names, the properties of an instance's root volume."""
    instance = _live_instance(aws, identifier)
    if instance is None:
        return None
    for mapping in instance.get("BlockDeviceMappings", []):
        if mapping["DeviceName"] == instance.get("RootDeviceName"):
            volume_id = mapping["Ebs"]["VolumeId"]
            volume = aws.call("ec2.describe_volumes", VolumeIds=[volume_id])["Volumes"][0]
            tags = tag_map(volume.get("Tags"))
            own = {key: value for key, value in tags.items() if key not in aws.default_tags}
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
    found = _root_volume(aws, identifier)
    if found is None:
        return
    volume, present = found
    wanted = inputs.get("rootBlockDevice", {})
    if changes := service_properties(wanted, "volumeType", "iops", "throughput"):
        aws.request("ec2.modify_volume", changes, VolumeId=volume)
    if wanted.get("volumeSize", present["volumeSize"]) != present["volumeSize"]:
        aws.call("ec2.modify_volume", VolumeId=volume, Size=wanted["volumeSize"])
    tags = {**aws.default_tags, **wanted.get("tags", {})}
    ec2_tags(aws, volume, tags, sorted(present["tagsAll"].keys() - tags.keys()))


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
    root = _root_volume(aws, identifier)
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


def _terminate(aws: Aws, identifier: str, inputs: Properties) -> None:
    instance = _live_instance(aws, identifier)
    if instance is None:
        return
    aws.call("ec2.terminate_instances", InstanceIds=[identifier])
    attached = [item["NetworkInterfaceId"] for item in instance.get("NetworkInterfaces", [])]
    moto_gaps.release_interfaces(aws, attached)


# Launch templates and Auto Scaling groups


def _template_data(inputs: Properties) -> Properties:
    data = service_properties(inputs, *TEMPLATE_DATA.split())
    if "vpcSecurityGroupIds" in data:
        data["securityGroupIds"] = data.pop("vpcSecurityGroupIds")
    if "networkInterfaces" in data:
        data["networkInterfaces"] = [
            {{"securityGroups": "groups"}.get(name, name): value for name, value in item.items()}
            for item in data["networkInterfaces"]
        ]
    return data


def _template_request(aws: Aws, operation: str, inputs: Properties, **arguments: Any) -> Any:
    properties: Properties = {"launchTemplateData": _template_data(inputs)}
    if inputs.get("description"):
        properties["versionDescription"] = inputs["description"]
    return aws.request(operation, properties, **arguments)


def _create_template(aws: Aws, inputs: Properties) -> str:
    operation = "ec2.create_launch_template"
    answer = _template_request(aws, operation, inputs, LaunchTemplateName=inputs["name"])
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


def _template_version(aws: Aws, identifier: str, inputs: Properties) -> None:
    operation = "ec2.create_launch_template_version"
    answer = _template_request(aws, operation, inputs, LaunchTemplateId=identifier)
    if inputs.get("updateDefaultVersion"):
        number = str(answer["LaunchTemplateVersion"]["VersionNumber"])
        aws.call("ec2.modify_launch_template", LaunchTemplateId=identifier, DefaultVersion=number)
    moto_gaps.keep_user_data(aws, identifier)


def _template(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("ec2.describe_launch_templates", LaunchTemplateIds=[identifier])
    if not found["LaunchTemplates"]:
        return None
    template = found["LaunchTemplates"][0]
    version = aws.call(
        "ec2.describe_launch_template_versions",
        LaunchTemplateId=identifier,
        Versions=["$Latest"],
    )["LaunchTemplateVersions"][0]
    data = version["LaunchTemplateData"]
    # moto tells the tags of the creation for ever, so they are asked for separately
    tags = aws.call("ec2.describe_tags", Filters=filtered(resource_id=identifier))["Tags"]
    return {
        **data,
        "name": template["LaunchTemplateName"],
        "description": version.get("VersionDescription"),
        "latestVersion": template["LatestVersionNumber"],
        "defaultVersion": template["DefaultVersionNumber"],
        "vpcSecurityGroupIds": data.get("SecurityGroupIds"),
        "networkInterfaces": [
            {**item, "securityGroups": item.get("Groups")}
            for item in data.get("NetworkInterfaces", [])
        ],
        "tagSpecifications": [
            {**item, "tags": tag_map(item["Tags"])} for item in data.get("TagSpecifications", [])
        ],
        "Tags": tags,
    }


def _group_settings(inputs: Properties) -> Properties:
    settings = service_properties(inputs, *GROUP_SETTINGS.split())
    if "vpcZoneIdentifiers" in settings:
        settings["VPCZoneIdentifier"] = ",".join(settings.pop("vpcZoneIdentifiers"))
    if "protectFromScaleIn" in settings:
        settings["newInstancesProtectedFromScaleIn"] = settings.pop("protectFromScaleIn")
    return settings


def _group_tags(name: str, tags: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
            "Key": tag["key"],
            "Value": tag["value"],
            "PropagateAtLaunch": tag["propagateAtLaunch"],
        }
        for tag in tags
    ]


def _create_group(aws: Aws, inputs: Properties) -> str:
    name = str(inputs["name"])
    tags = _group_tags(name, inputs.get("tags", []))
    operation = "autoscaling.create_auto_scaling_group"
    aws.request(operation, _group_settings(inputs), AutoScalingGroupName=name, Tags=tags)
    moto_gaps.discard_shadow_volumes(aws)
    return name


def _update_group(aws: Aws, identifier: str, inputs: Properties) -> None:
    operation = "autoscaling.update_auto_scaling_group"
    aws.request(operation, _group_settings(inputs), AutoScalingGroupName=identifier)
    moto_gaps.keep_group_settings(aws, identifier, inputs)
    moto_gaps.discard_shadow_volumes(aws)


def _update_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    _update_group(aws, identifier, inputs)
    if inputs.get("instanceRefresh"):
        listed = inputs["mixedInstancesPolicy"]["launchTemplate"].get("overrides", [])
        _refresh_instances(aws, identifier, {override["instanceType"] for override in listed})


def _refresh_instances(aws: Aws, identifier: str, matching: set[str]) -> None:
    """What StartInstanceRefresh with SkipMatching leads to, at once: moto has no such operation."""
    for instance in (_described_group(aws, identifier) or {"Instances": []})["Instances"]:
        if instance["InstanceType"] in matching:
            continue
        leftovers = moto_gaps.belongings(aws, [instance["InstanceId"]])
        aws.call(
            "autoscaling.terminate_instance_in_auto_scaling_group",
            InstanceId=instance["InstanceId"],
            ShouldDecrementDesiredCapacity=False,
        )
        moto_gaps.discard(aws, *leftovers)
    moto_gaps.discard_shadow_volumes(aws)


def _update_group_tags(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = _group_tags(identifier, inputs.get("tags", []))
    group = _described_group(aws, identifier) or {"Tags": []}
    keys = {tag["Key"] for tag in wanted}
    stale = [tag for tag in group["Tags"] if tag["Key"] not in keys]
    if stale:
        aws.call("autoscaling.delete_tags", Tags=stale)
    if wanted:
        aws.call("autoscaling.create_or_update_tags", Tags=wanted)


def _described_group(aws: Aws, identifier: str) -> dict[str, Any] | None:
    names = [identifier]
    answer = aws.call("autoscaling.describe_auto_scaling_groups", AutoScalingGroupNames=names)
    groups = answer["AutoScalingGroups"]
    return dict(groups[0]) if groups else None


def _group(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    group = _described_group(aws, identifier)
    if group is None:
        return None
    return {
        **group,
        "arn": group["AutoScalingGroupARN"],
        "name": group["AutoScalingGroupName"],
        "vpcZoneIdentifiers": group.get("VPCZoneIdentifier", "").split(","),
        "protectFromScaleIn": group.get("NewInstancesProtectedFromScaleIn", False),
    }


def _delete_group(aws: Aws, identifier: str, inputs: Properties) -> None:
    group = _described_group(aws, identifier)
    if group is None:
        return
    instances = [instance["InstanceId"] for instance in group["Instances"]]
    leftovers = moto_gaps.belongings(aws, instances)
    aws.call(
        "autoscaling.delete_auto_scaling_group", AutoScalingGroupName=identifier, ForceDelete=True
    )
    moto_gaps.discard(aws, *leftovers)


def _delete_template(aws: Aws, identifier: str, inputs: Properties) -> None:
    try:
        aws.call("ec2.delete_launch_template", LaunchTemplateId=identifier)
    except ClientError as error:
        # moto's answer for a template that is gone carries a code of its own making
        if _template(aws, identifier, inputs) is not None:
            raise error


_POLICY = "mixedInstancesPolicy"
_TEMPLATE = f"{_POLICY}.launchTemplate"

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
        fixed="availabilityZone encrypted kmsKeyId",
        updates=modified(
            "ec2.modify_volume", "VolumeId", "size type iops throughput", {"type": "VolumeType"}
        ),
        defaults={"encrypted": False},
        create=created("ec2.create_volume", "VolumeId", {"type": "VolumeType"}),
        read=described("ec2.describe_volumes", "VolumeIds", "Volumes[0]", type="VolumeType"),
        delete=deleted("ec2.delete_volume", "VolumeId"),
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
        },
        defaults={
            "ebsOptimized": False,
            "disableApiTermination": False,
            "monitoring": False,
            "instanceInitiatedShutdownBehavior": "stop",
        },
        unordered="vpcSecurityGroupIds",
        create=_run_instance,
        read=_instance,
        delete=_terminate,
        tagger=ec2_tags,
        arn="ec2:instance/{id}",
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": ResourceType(
        fixed="name",
        updates={f"description {TEMPLATE_DATA}": _template_version},
        local="updateDefaultVersion",
        nested={
            "iamInstanceProfile": "arn name",
            "metadataOptions": METADATA,
            "blockDeviceMappings": "deviceName ebs",
            "blockDeviceMappings.ebs": EBS,
            "networkInterfaces": "associatePublicIpAddress securityGroups deleteOnTermination"
            " deviceIndex",
            "tagSpecifications": "resourceType tags",
            "monitoring": "enabled",
        },
        unordered="vpcSecurityGroupIds networkInterfaces.securityGroups tagSpecifications",
        name="name",
        name_length=128,
        recomputed="latestVersion defaultVersion",
        create=_create_template,
        read=_template,
        delete=_delete_template,
        tagger=ec2_tags,
        arn="ec2:launch-template/{id}",
    ),
    "aws:autoscaling/group:Group": ResourceType(
        fixed="name",
        updates={
            "mixedInstancesPolicy": _update_policy,
            GROUP_SETTINGS.replace(" mixedInstancesPolicy", ""): _update_group,
            "tags": _update_group_tags,
        },
        local="waitForCapacityTimeout forceDelete instanceRefresh",
        needed="vpcZoneIdentifiers mixedInstancesPolicy",
        nested={
            _POLICY: "launchTemplate instancesDistribution",
            _TEMPLATE: "launchTemplateSpecification overrides",
            f"{_TEMPLATE}.launchTemplateSpecification": "launchTemplateId version",
            f"{_TEMPLATE}.overrides": "instanceType",
            f"{_POLICY}.instancesDistribution": "onDemandBaseCapacity"
            " onDemandPercentageAboveBaseCapacity onDemandAllocationStrategy"
            " spotAllocationStrategy",
            "instanceRefresh": "strategy preferences",
            "instanceRefresh.preferences": "minHealthyPercentage maxHealthyPercentage"
            " instanceWarmup skipMatching",
            "tags": "key value propagateAtLaunch",
        },
        unordered="vpcZoneIdentifiers tags",
        name="name",
        create=_create_group,
        read=_group,
        delete=_delete_group,
    ),
}
