"""EFS: file systems, mount targets, policies, backup."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from .. import moto_gaps
from ..aws import Aws, tag_list
from ..table import ResourceType, created, deleted
from ..values import Properties

LIFECYCLE = "transitionToIa transitionToArchive transitionToPrimaryStorageClass"


def efs_tags(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    """The tagger of EFS."""
    if tags:
        aws.call("efs.tag_resource", ResourceId=identifier, Tags=tag_list(tags))
    if removed:
        aws.call("efs.untag_resource", ResourceId=identifier, TagKeys=removed)


def _create_file_system(aws: Aws, inputs: Properties) -> str:
    # AWS makes a token up where none is given; two creations must not meet in one file system.
    asked = {"creationToken": secrets.token_hex(16), **inputs}
    return created("efs.create_file_system", "FileSystemId")(aws, asked)


def _throughput(aws: Aws, identifier: str, inputs: Properties) -> None:
    provisioned = inputs.get("provisionedThroughputInMibps")
    moto_gaps.update_file_system(aws, identifier, inputs["throughputMode"], provisioned)


def _lifecycle(aws: Aws, identifier: str, inputs: Properties) -> None:
    policies = [
        {name[0].upper() + name[1:].replace("ToIa", "ToIA"): value}
        for policy in inputs.get("lifecyclePolicies", [])
        for name, value in policy.items()
    ]
    operation = "efs.put_lifecycle_configuration"
    aws.call(operation, FileSystemId=identifier, LifecyclePolicies=policies)


def _file_system(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("efs.describe_file_systems", FileSystemId=identifier)["FileSystems"]
    if not found:
        return None
    operation = "efs.describe_lifecycle_configuration"
    policies = aws.call(operation, FileSystemId=identifier)["LifecyclePolicies"]
    return {
        **found[0],
        "arn": found[0]["FileSystemArn"],
        "dnsName": f"{identifier}.efs.{aws.region}.amazonaws.com",
        # both change without anybody's doing here, and would be drift at every refresh
        "sizeInBytes": None,
        "numberOfMountTargets": None,
        "lifecyclePolicies": policies,
    }


def _mount_target(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("efs.describe_mount_targets", MountTargetId=identifier)["MountTargets"]
    if not found:
        return None
    target = found[0]
    operation = "efs.describe_mount_target_security_groups"
    groups = aws.call(operation, MountTargetId=identifier)["SecurityGroups"]
    name = f"{target['FileSystemId']}.efs.{aws.region}.amazonaws.com"
    return {
        **target,
        "securityGroups": groups,
        "dnsName": name,
        "mountTargetDnsName": f"{target['AvailabilityZoneName']}.{name}",
        "fileSystemArn": aws.arn("elasticfilesystem", f"file-system/{target['FileSystemId']}"),
    }


def _mount_target_groups(aws: Aws, identifier: str, inputs: Properties) -> None:
    groups = inputs.get("securityGroups", [])
    operation = "efs.modify_mount_target_security_groups"
    aws.call(operation, MountTargetId=identifier, SecurityGroups=groups)


def _put_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call("efs.put_file_system_policy", FileSystemId=identifier, Policy=inputs["policy"])


def _create_policy(aws: Aws, inputs: Properties) -> str:
    identifier = str(inputs["fileSystemId"])
    _put_policy(aws, identifier, inputs)
    return identifier


def _policy(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    aws.call("efs.describe_file_systems", FileSystemId=identifier)  # moto fails where it is missing
    return dict(aws.call("efs.describe_file_system_policy", FileSystemId=identifier))


def _put_backup(aws: Aws, identifier: str, inputs: Properties) -> None:
    moto_gaps.put_backup_policy(aws, identifier, inputs["backupPolicy"]["status"])


def _create_backup(aws: Aws, inputs: Properties) -> str:
    identifier = str(inputs["fileSystemId"])
    _put_backup(aws, identifier, inputs)
    return identifier


def _backup(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    aws.call("efs.describe_file_systems", FileSystemId=identifier)
    try:
        policy = aws.call("efs.describe_backup_policy", FileSystemId=identifier)["BackupPolicy"]
    except ClientError:  # AWS says DISABLED where moto says that there is no policy
        policy = {"Status": "DISABLED"}
    return {"fileSystemId": identifier, "backupPolicy": policy}


TYPES = {
    "aws:efs/fileSystem:FileSystem": ResourceType(
        fixed="encrypted kmsKeyId performanceMode creationToken",
        updates={
            "throughputMode provisionedThroughputInMibps": _throughput,
            "lifecyclePolicies": _lifecycle,
        },
        later="lifecyclePolicies",
        nested={"lifecyclePolicies": LIFECYCLE},
        defaults={
            "encrypted": False,
            "performanceMode": "generalPurpose",
            "throughputMode": "bursting",
        },
        create=_create_file_system,
        read=_file_system,
        delete=deleted("efs.delete_file_system", "FileSystemId"),
        tagger=efs_tags,
    ),
    "aws:efs/mountTarget:MountTarget": ResourceType(
        fixed="fileSystemId subnetId",
        updates={"securityGroups": _mount_target_groups},
        unordered="securityGroups",
        create=created("efs.create_mount_target", "MountTargetId"),
        read=_mount_target,
        delete=deleted("efs.delete_mount_target", "MountTargetId"),
        replace_by_deleting=True,
    ),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": ResourceType(
        fixed="fileSystemId",
        updates={"policy": _put_policy},
        local="bypassPolicyLockoutSafetyCheck",
        documents="policy",
        create=_create_policy,
        read=_policy,
        delete=lambda aws, identifier, inputs: moto_gaps.delete_file_system_policy(aws, identifier),
        replace_by_deleting=True,
    ),
    "aws:efs/backupPolicy:BackupPolicy": ResourceType(
        fixed="fileSystemId",
        updates={"backupPolicy": _put_backup},
        nested={"backupPolicy": "status"},
        create=_create_backup,
        read=_backup,
        delete=lambda aws, identifier, inputs: moto_gaps.put_backup_policy(
            aws, identifier, "DISABLED"
        ),
        replace_by_deleting=True,
    ),
}
