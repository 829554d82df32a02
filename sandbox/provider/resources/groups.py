"""Launch templates and Auto Scaling groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from .. import moto_gaps
from ..aws import Aws, service_properties, tag_map
from ..table import ResourceType
from ..values import Properties
from .compute import METADATA
from .network import ec2_tags, filtered
from .reservations import reservation_changed

EBS = "deleteOnTermination encrypted iops kmsKeyId snapshotId throughput volumeSize volumeType"
TEMPLATE_DATA = (
    "imageId instanceType iamInstanceProfile userData metadataOptions blockDeviceMappings"
    " vpcSecurityGroupIds networkInterfaces tagSpecifications ebsOptimized monitoring"
    " instanceInitiatedShutdownBehavior instanceMarketOptions capacityReservationSpecification"
)
GROUP_SETTINGS = (
    "minSize maxSize desiredCapacity vpcZoneIdentifiers mixedInstancesPolicy healthCheckType"
    " healthCheckGracePeriod capacityRebalance defaultInstanceWarmup protectFromScaleIn"
    " terminationPolicies"
)
_POLICY = "mixedInstancesPolicy"
_TEMPLATE = f"{_POLICY}.launchTemplate"


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
    if "launchTemplate" in inputs:
        template = inputs["launchTemplate"]
        settings["launchTemplate"] = {
            "launchTemplateId": template["id"],
            "version": template["version"],
        }
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
    return name


def _update_group(aws: Aws, identifier: str, inputs: Properties) -> None:
    operation = "autoscaling.update_auto_scaling_group"
    aws.request(operation, _group_settings(inputs), AutoScalingGroupName=identifier)
    moto_gaps.keep_group_settings(aws, identifier, inputs)


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


TYPES = {
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
            "instanceMarketOptions": "marketType",
            "capacityReservationSpecification": "capacityReservationTarget",
            "capacityReservationSpecification.capacityReservationTarget": "capacityReservationId",
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
            GROUP_SETTINGS: _update_group,
            "launchTemplate": _update_group,
            "capacityReservationSpecification": reservation_changed,
            "tags": _update_group_tags,
        },
        local="waitForCapacityTimeout forceDelete",
        needed="vpcZoneIdentifiers",
        defaults={
            "capacityReservationSpecification": {"capacityReservationPreference": "default"},
        },
        nested={
            _POLICY: "launchTemplate instancesDistribution",
            _TEMPLATE: "launchTemplateSpecification overrides",
            f"{_TEMPLATE}.launchTemplateSpecification": "launchTemplateId version",
            f"{_TEMPLATE}.overrides": "instanceType",
            "launchTemplate": "id version",
            "capacityReservationSpecification": "capacityReservationPreference capacityReservationTarget",
            "capacityReservationSpecification.capacityReservationTarget": "capacityReservationIds",
            f"{_POLICY}.instancesDistribution": "onDemandBaseCapacity"
            " onDemandPercentageAboveBaseCapacity onDemandAllocationStrategy"
            " spotAllocationStrategy",
            "tags": "key value propagateAtLaunch",
        },
        unordered="vpcZoneIdentifiers tags",
        name="name",
        create=_create_group,
        read=_group,
        delete=_delete_group,
    ),
}
