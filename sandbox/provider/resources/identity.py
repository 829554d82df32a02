"""IAM roles, policies and instance profiles; secrets of the Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..aws import Aws, tag_list
from ..table import ResourceType, Tagger, created, deleted, described, modified
from ..values import Properties


def _iam_tags(kind: str, argument: str) -> Tagger:
    def tagger(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
        subject = {argument: identifier}
        if tags:
            aws.call(f"iam.tag_{kind}", Tags=tag_list(tags), **subject)
        if removed:
            aws.call(f"iam.untag_{kind}", TagKeys=removed, **subject)

    return tagger


def _document(value: Any) -> str:
    """A policy as text: botocore hands out some as text, some already read."""
    return value if isinstance(value, str) else json.dumps(value)


def _role(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    role = aws.call("iam.get_role", RoleName=identifier)["Role"]
    return {
        **role,
        "name": role["RoleName"],
        "uniqueId": role["RoleId"],
        "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
        "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    }


def _assume_role_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    document = inputs["assumeRolePolicy"]
    aws.call("iam.update_assume_role_policy", RoleName=identifier, PolicyDocument=document)


def _permissions_boundary(aws: Aws, identifier: str, inputs: Properties) -> None:
    boundary = inputs.get("permissionsBoundary")
    if boundary:
        operation = "iam.put_role_permissions_boundary"
        aws.call(operation, RoleName=identifier, PermissionsBoundary=boundary)
    else:
        aws.call("iam.delete_role_permissions_boundary", RoleName=identifier)


def _put_role_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    role, _, name = identifier.partition(":")
    document = inputs["policy"]
    aws.call("iam.put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=document)


def _create_role_policy(aws: Aws, inputs: Properties) -> str:
    identifier = f"{inputs['role']}:{inputs['name']}"
    _put_role_policy(aws, identifier, inputs)
    return identifier


def _role_policy(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    role, _, name = identifier.partition(":")
    found = aws.call("iam.get_role_policy", RoleName=role, PolicyName=name)
    return {"role": role, "name": name, "policy": _document(found["PolicyDocument"])}


def _delete_role_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    role, _, name = identifier.partition(":")
    aws.call("iam.delete_role_policy", RoleName=role, PolicyName=name)


def _profile_role(aws: Aws, identifier: str, inputs: Properties) -> None:
    profile = aws.call("iam.get_instance_profile", InstanceProfileName=identifier)
    for role in profile["InstanceProfile"]["Roles"]:
        aws.call(
            "iam.remove_role_from_instance_profile",
            InstanceProfileName=identifier,
            RoleName=role["RoleName"],
        )
    if "role" in inputs:
        aws.call(
            "iam.add_role_to_instance_profile",
            InstanceProfileName=identifier,
            RoleName=inputs["role"],
        )


def _delete_profile(aws: Aws, identifier: str, inputs: Properties) -> None:
    _profile_role(aws, identifier, {})
    aws.call("iam.delete_instance_profile", InstanceProfileName=identifier)


def _secret_tags(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    if tags:
        aws.call("secretsmanager.tag_resource", SecretId=identifier, Tags=tag_list(tags))
    if removed:
        aws.call("secretsmanager.untag_resource", SecretId=identifier, TagKeys=removed)


def _delete_secret(aws: Aws, identifier: str, inputs: Properties) -> None:
    days = inputs.get("recoveryWindowInDays", 30)
    wait: dict[str, Any] = {"RecoveryWindowInDays": days}
    if days == 0:
        wait = {"ForceDeleteWithoutRecovery": True}
    if "DeletedDate" in aws.call("secretsmanager.describe_secret", SecretId=identifier):
        return  # its recovery window runs already
    aws.call("secretsmanager.delete_secret", SecretId=identifier, **wait)


def _put_secret_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call(
        "secretsmanager.put_resource_policy", SecretId=identifier, ResourcePolicy=inputs["policy"]
    )


def _create_secret_policy(aws: Aws, inputs: Properties) -> str:
    identifier = str(inputs["secretArn"])
    _put_secret_policy(aws, identifier, inputs)
    return identifier


def _secret_policy(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("secretsmanager.get_resource_policy", SecretId=identifier)
    text = found.get("ResourcePolicy")
    return {"secretArn": identifier, "policy": text} if text else None


def _create_secret_version(aws: Aws, inputs: Properties) -> str:
    made = aws.call(
        "secretsmanager.put_secret_value",
        SecretId=inputs["secretId"],
        SecretString=inputs["secretString"],
    )
    return f"{inputs['secretId']}|{made['VersionId']}"


def _secret_version(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    secret, _, version = identifier.partition("|")
    found = aws.call("secretsmanager.get_secret_value", SecretId=secret, VersionId=version)
    return {**found, "secretId": secret, "secretArn": found["ARN"]}


def _delete_secret_version(aws: Aws, identifier: str, inputs: Properties) -> None:
    """As the provider does: labels are taken away, but for the current version's."""
    secret, _, version = identifier.partition("|")
    stages = aws.call("secretsmanager.describe_secret", SecretId=secret)["VersionIdsToStages"]
    for stage in stages.get(version, ()):
        if stage != "AWSCURRENT":
            aws.call(
                "secretsmanager.update_secret_version_stage",
                SecretId=secret,
                VersionStage=stage,
                RemoveFromVersionId=version,
            )


TYPES = {
    "aws:iam/role:Role": ResourceType(
        fixed="name path",
        updates={
            "assumeRolePolicy": _assume_role_policy,
            **modified("iam.update_role", "RoleName", "description maxSessionDuration"),
            "permissionsBoundary": _permissions_boundary,
        },
        defaults={"path": "/", "maxSessionDuration": 3600},
        documents="assumeRolePolicy",
        name="name",
        name_length=64,
        create=created(
            "iam.create_role",
            "Role.RoleName",
            {"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument"},
        ),
        read=_role,
        delete=deleted("iam.delete_role", "RoleName"),
        tagger=_iam_tags("role", "RoleName"),
    ),
    "aws:iam/rolePolicy:RolePolicy": ResourceType(
        fixed="name role",
        updates={"policy": _put_role_policy},
        documents="policy",
        name="name",
        name_length=128,
        create=_create_role_policy,
        read=_role_policy,
        delete=_delete_role_policy,
    ),
    "aws:iam/instanceProfile:InstanceProfile": ResourceType(
        fixed="name path",
        updates={"role": _profile_role},
        later="role",
        defaults={"path": "/"},
        name="name",
        name_length=128,
        create=created(
            "iam.create_instance_profile",
            "InstanceProfile.InstanceProfileName",
            {"name": "InstanceProfileName"},
        ),
        read=described(
            "iam.get_instance_profile",
            "InstanceProfileName",
            "InstanceProfile",
            name="InstanceProfileName",
            role="Roles[0].RoleName",
            uniqueId="InstanceProfileId",
        ),
        delete=_delete_profile,
        tagger=_iam_tags("instance_profile", "InstanceProfileName"),
    ),
    "aws:secretsmanager/secret:Secret": ResourceType(
        fixed="name",
        updates=modified("secretsmanager.update_secret", "SecretId", "description kmsKeyId"),
        local="recoveryWindowInDays",
        defaults={"recoveryWindowInDays": 30},
        name="name",
        create=created("secretsmanager.create_secret", "ARN"),
        read=described(
            "secretsmanager.describe_secret", "SecretId", "DeletedDate == null && @ || `null`"
        ),
        delete=_delete_secret,
        tagger=_secret_tags,
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": ResourceType(
        fixed="secretId secretString",
        needed="secretString",
        create=_create_secret_version,
        read=_secret_version,
        delete=_delete_secret_version,
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ResourceType(
        fixed="secretArn",
        updates={"policy": _put_secret_policy},
        documents="policy",
        needed="secretArn policy",
        create=_create_secret_policy,
        read=_secret_policy,
        delete=deleted("secretsmanager.delete_resource_policy", "SecretId"),
    ),
}
