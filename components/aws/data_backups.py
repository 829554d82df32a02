"""Snapshots of the leader's data volume, taken and deleted by Data Lifecycle Manager: no code of ours runs."""

import json
from collections.abc import Mapping

import pulumi
from pulumi_aws import dlm, ebs, iam

from components.aws.policies import assumable_by, policy
from model.settings.aws import Backups
from model.tags import BACKUPS_TAG, CLUSTER_TAG, ID_TAG, named

AT = "03:00"
"""UTC; with less than a day between two snapshots the first of the day."""


def data_backups(
    name: str,
    backups: Backups,
    tags: Mapping[str, str],
    volume: ebs.Volume,
    opts: pulumi.ResourceOptions,
) -> None:
    """Make the policy by which *volume*, which carries the :func:`target` of the cluster's *tags*, is copied, and the
    role that AWS takes.

    *opts* keep both with the volume. *backups* changes in place; switched off, the policy is disabled.
    """
    role = iam.Role(
        f"{name}-role",
        description="Data Lifecycle Manager copies the data of a Graphistry cluster",
        assume_role_policy=assumable_by("dlm"),
        tags=named(f"{name}-role"),
        opts=opts,
    )
    inline = iam.RolePolicy(
        f"{name}-role",
        role=role.name,
        policy=volume.arn.apply(lambda arn: json.dumps(_policy(arn, tags[ID_TAG]))),
        opts=opts,
    )
    dlm.LifecyclePolicy(
        name,
        description=f"Data of the cluster {tags[CLUSTER_TAG].replace('/', ' ')}",
        execution_role_arn=role.arn,
        state="ENABLED" if backups.every_hours else "DISABLED",
        policy_details=dlm.LifecyclePolicyPolicyDetailsArgs(
            resource_types=["VOLUME"],
            target_tags=target(tags),
            schedules=[
                dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
                    name="data",
                    copy_tags=True,
                    create_rule=dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                        interval=backups.every_hours or 24, interval_unit="HOURS", times=AT
                    ),
                    retain_rule=dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(
                        interval=backups.keep_days, interval_unit="DAYS"
                    ),
                )
            ],
        ),
        tags=named(name),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[inline])),
    )


def target(tags: Mapping[str, str]) -> dict[str, str]:
    """The tag of the data volume of the cluster with these *tags*, by which its policy finds it. In place.

    With the state's id: the policies of two states with one stack name would copy each other's volumes. In one value,
    as of several tags a volume needs only one (AWS: custom policies for EBS snapshots).
    """
    return {BACKUPS_TAG: f"{tags[CLUSTER_TAG]}/{tags[ID_TAG]}"}


def _policy(volume: str, identity: str) -> dict[str, object]:
    """Copy this volume, tag copies, and delete those with the state's *identity*, which they have from it."""
    # Snapshots are of a region and, in their ARN, of no account.
    snapshots = f"{':'.join(volume.split(':')[:4])}::snapshot/*"
    return policy(
        {
            "Sid": "Look",
            "Effect": "Allow",
            "Action": ["ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeVolumes"],
            "Resource": "*",
        },
        {
            "Sid": "CopyTheData",
            "Effect": "Allow",
            "Action": "ec2:CreateSnapshot",
            "Resource": [volume, snapshots],
        },
        {
            "Sid": "TagCopies",
            "Effect": "Allow",
            "Action": "ec2:CreateTags",
            "Resource": snapshots,
        },
        {
            "Sid": "DeleteOldCopies",
            "Effect": "Allow",
            "Action": "ec2:DeleteSnapshot",
            "Resource": snapshots,
            "Condition": {"StringEquals": {f"aws:ResourceTag/{ID_TAG}": identity}},
        },
    )
