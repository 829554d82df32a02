"""What was registered, written down as the Terraform plan that the same resources would have.

Pulumi's AWS resources are Terraform's by other names, and scanners read plans. As in a real plan, what only AWS will
know (an id, an ARN) has no value but a reference to the resource that it is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

from tests.harness import Registration, arn

TERRAFORM_TYPES = {
    "aws:autoscaling/group:Group": "aws_autoscaling_group",
    "aws:budgets/budget:Budget": "aws_budgets_budget",
    "aws:cloudwatch/eventRule:EventRule": "aws_cloudwatch_event_rule",
    "aws:cloudwatch/eventTarget:EventTarget": "aws_cloudwatch_event_target",
    "aws:cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": "aws_dlm_lifecycle_policy",
    "aws:ebs/volume:Volume": "aws_ebs_volume",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "aws_default_security_group",
    "aws:ec2/eip:Eip": "aws_eip",
    "aws:ec2/flowLog:FlowLog": "aws_flow_log",
    "aws:ec2/instance:Instance": "aws_instance",
    "aws:ec2/internetGateway:InternetGateway": "aws_internet_gateway",
    "aws:ec2/launchTemplate:LaunchTemplate": "aws_launch_template",
    "aws:ec2/capacityReservation:CapacityReservation": "aws_ec2_capacity_reservation",
    "aws:ec2/natGateway:NatGateway": "aws_nat_gateway",
    "aws:ec2/networkInterface:NetworkInterface": "aws_network_interface",
    "aws:ec2/routeTable:RouteTable": "aws_route_table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "aws_route_table_association",
    "aws:ec2/securityGroup:SecurityGroup": "aws_security_group",
    "aws:ec2/subnet:Subnet": "aws_subnet",
    "aws:ec2/volumeAttachment:VolumeAttachment": "aws_volume_attachment",
    "aws:ec2/vpc:Vpc": "aws_vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "aws_vpc_endpoint",
    "aws:efs/backupPolicy:BackupPolicy": "aws_efs_backup_policy",
    "aws:efs/fileSystem:FileSystem": "aws_efs_file_system",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "aws_efs_file_system_policy",
    "aws:efs/mountTarget:MountTarget": "aws_efs_mount_target",
    "aws:iam/instanceProfile:InstanceProfile": "aws_iam_instance_profile",
    "aws:iam/role:Role": "aws_iam_role",
    "aws:iam/rolePolicy:RolePolicy": "aws_iam_role_policy",
    "aws:route53/record:Record": "aws_route53_record",
    "aws:route53/zone:Zone": "aws_route53_zone",
    "aws:s3/bucket:Bucket": "aws_s3_bucket",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "aws_s3_bucket_lifecycle_configuration",
    "aws:s3/bucketObjectv2:BucketObjectv2": "aws_s3_object",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "aws_s3_bucket_ownership_controls",
    "aws:s3/bucketPolicy:BucketPolicy": "aws_s3_bucket_policy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "aws_s3_bucket_public_access_block",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "aws_s3_bucket_server_side_encryption_configuration"
    ),
    "aws:s3/bucketVersioning:BucketVersioning": "aws_s3_bucket_versioning",
    "aws:secretsmanager/secret:Secret": "aws_secretsmanager_secret",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "aws_secretsmanager_secret_policy",
    "aws:ssm/document:Document": "aws_ssm_document",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "aws_vpc_security_group_egress_rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
}
"""Pulumi's token to Terraform's type, for every type of a cluster."""

SINGULAR = {
    "overrides": "override",
    "routes": "route",
    "rules": "rule",
    "schedules": "schedule",
    "vpc_zone_identifiers": "vpc_zone_identifier",
    "vpcs": "vpc",
}
"""Blocks that Terraform names by the one and Pulumi by the many; other lists are named alike."""


def terraform_plan(registrations: Iterable[Registration]) -> dict[str, Any]:
    """The plan that creates the AWS resources of *registrations*, by Terraform's JSON output format 1.2.

    Raises :class:`AssertionError` for a type without a Terraform type.
    """
    known = {each.urn: each for each in registrations if each.type.startswith("aws:")}
    unknown = {each.type for each in known.values()} - set(TERRAFORM_TYPES)
    assert not unknown, f"add to TERRAFORM_TYPES: {sorted(unknown)}"
    planned, configured = [], []
    for each in known.values():
        values, expressions = _block(each, known)
        resource = {
            "address": address(each),
            "mode": "managed",
            "type": TERRAFORM_TYPES[each.type],
            "name": _label(each),
            "provider_name": "registry.terraform.io/hashicorp/aws",
        }
        planned.append({**resource, "values": values})
        configured.append({**resource, "expressions": expressions})
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "configuration": {"root_module": {"resources": configured}},
    }


def address(registration: Registration) -> str:
    """How Terraform would call the resource: ``aws_instance.graphistry-prod-leader``."""
    return f"{TERRAFORM_TYPES[registration.type]}.{_label(registration)}"


def _label(registration: Registration) -> str:
    return re.sub(r"[^\w-]", "_", registration.name)


def _block(
    registration: Registration, known: Mapping[str, Registration]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a resource, and the references where it has none."""
    values: dict[str, Any] = {}
    expressions: dict[str, Any] = {}
    for name, value in registration.inputs.items():
        owners = [
            known[urn] for urn in registration.property_dependencies.get(name, ()) if urn in known
        ]
        _put(values, expressions, name, value, owners)
    if "tags" in values and isinstance(registration.inputs["tags"], list):
        values["tag"] = values.pop("tags")
    return values, expressions


def _put(
    values: dict[str, Any],
    expressions: dict[str, Any],
    name: str,
    value: Any,
    owners: Iterable[Registration],
) -> None:
    """Write one input under its Terraform name, nested blocks as lists."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    key = SINGULAR.get(snake, snake)
    blocks = [value] if isinstance(value, Mapping) and name != "tags" else value
    if isinstance(blocks, list) and any(isinstance(each, Mapping) for each in blocks):
        values[key], expressions[key] = [], []
        for block in blocks:
            inner: tuple[dict[str, Any], dict[str, Any]] = {}, {}
            for inner_name, inner_value in block.items():
                _put(*inner, inner_name, inner_value, owners)
            values[key].append(inner[0])
            expressions[key].append(inner[1])
        return
    leaves = value if isinstance(value, list) else [value]
    references = [found for leaf in leaves for found in _references(leaf, owners)]
    if references:
        expressions[key] = {"references": references}
    else:
        values[key] = _plain(value)


def _references(leaf: Any, owners: Iterable[Registration]) -> list[str]:
    """The attribute that *leaf* is of one of *owners*, by what the mocks answer, most exact first."""
    for owner in owners:
        answers = {
            f"{owner.name}-id": "id",
            arn(owner.type, owner.name, owner.inputs): "arn",
            f"{owner.name}-1234567": "name",
            f"Z{owner.name}": "zone_id",
            f"eipalloc-{owner.name}": "allocation_id",
        }
        if isinstance(leaf, str) and leaf in answers:
            return [f"{address(owner)}.{answers[leaf]}", address(owner)]
    return []


def _plain(value: Any) -> Any:
    """A value as JSON has it: Pulumi's numbers are all floating, and a file is named."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.path if isinstance(value, pulumi.FileAsset) else value
