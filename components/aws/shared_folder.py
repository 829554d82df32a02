"""The one dataset directory of a cluster: an EFS file system of its own, or one that exists already.

Only the ``uploads``, ``files`` and ``datasets`` of the product live here. PostgreSQL never does: a network file
system and a database do not go together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import efs

from components.aws.policies import policy
from components.aws.protection import kept
from model.settings import aws as settings
from model.tags import named

CLIENT_ACTIONS = (
    "elasticfilesystem:ClientMount",
    "elasticfilesystem:ClientWrite",
    "elasticfilesystem:ClientRootAccess",
)
"""What a node does to the shared folder; the product's containers write as several users, root among them."""


@dataclass(frozen=True, kw_only=True)
class SharedFolderReference:
    """What a node needs to mount the shared folder."""

    file_system_id: pulumi.Output[str]
    """Id of the EFS file system."""

    arn: pulumi.Output[str]
    """ARN of the file system, for the nodes' rights."""

    mount_targets: Mapping[str, pulumi.Output[str]]
    """Zone to the address of the mount target there; empty for a file system that existed already."""

    def as_output(self) -> pulumi.Output[str]:
        """The file system's id."""
        return self.file_system_id


@dataclass(frozen=True, kw_only=True)
class SharedFolderArgs:
    """Inputs of :class:`SharedFolder`."""

    shared_folder: settings.SharedFolder
    """The stack's ``sharedFolder`` key. Throughput and backups change in place (AWS allows a lower
    throughput mode once in 24 hours); the file system itself is never replaced."""

    subnet_ids: Mapping[str, pulumi.Input[str]]
    """Subnet of each zone in use: each gets a mount target. Zones come and go in place."""

    security_group_id: pulumi.Input[str]
    """Group of the mount targets. In place."""

    role_path: str
    """IAM path of the cluster's node roles: the only principals the file system admits."""

    account_id: str
    """AWS account of those roles."""

    partition: str
    """AWS partition, ``aws`` but for China and GovCloud."""

    key: str | None
    """KMS key, or None for AWS's own. A change replaces it, which its protection refuses."""

    delete_data: bool
    """Lifts the protection."""


class SharedFolder(pulumi.ComponentResource):
    """An encrypted EFS file system that only the nodes of one cluster may mount, over TLS.

    Creates: file system, backup policy and file-system policy (all kept), a mount target per zone.
    """

    reference: SharedFolderReference
    """What nodes consume. It is known only once every mount target exists."""

    def __init__(
        self, name: str, args: SharedFolderArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:SharedFolder", name, {}, opts)
        # The guards are kept with the data: backups go on, and nobody else may mount it meanwhile.
        keep = kept(self, delete_data=args.delete_data)
        file_system = efs.FileSystem(
            name,
            encrypted=True,
            kms_key_id=args.key,
            throughput_mode=args.shared_folder.throughput_mode,
            provisioned_throughput_in_mibps=args.shared_folder.provisioned_throughput_mibps,
            tags=named(name),
            opts=keep,
        )
        efs.BackupPolicy(
            f"{name}-backups",
            file_system_id=file_system.id,
            backup_policy=efs.BackupPolicyBackupPolicyArgs(
                status="ENABLED" if args.shared_folder.backups else "DISABLED"
            ),
            opts=keep,
        )
        efs.FileSystemPolicy(
            f"{name}-policy",
            file_system_id=file_system.id,
            policy=file_system.arn.apply(lambda arn: _policy(arn, args)),
            opts=keep,
        )
        targets = {
            zone: efs.MountTarget(
                f"{name}-{zone}",
                file_system_id=file_system.id,
                subnet_id=subnet_id,
                security_groups=[args.security_group_id],
                opts=pulumi.ResourceOptions(
                    parent=self,
                    # AWS takes more than ten minutes on a bad day (terraform-provider-aws#15278).
                    custom_timeouts=pulumi.CustomTimeouts(create="30m", delete="30m"),
                ),
            )
            for zone, subnet_id in args.subnet_ids.items()
        }
        self.reference = SharedFolderReference(
            file_system_id=pulumi.Output.all(
                file_system.id, *(target.id for target in targets.values())
            ).apply(lambda ids: str(ids[0])),
            arn=file_system.arn,
            mount_targets={zone: target.ip_address for zone, target in targets.items()},
        )
        self.register_outputs({"file_system_id": self.reference.file_system_id})


def existing_shared_folder(
    file_system_id: str, opts: pulumi.InvokeOptions
) -> SharedFolderReference:
    """The reference to a file system that the stack file names by id; it must have mount targets already."""
    file_system = efs.get_file_system(file_system_id=file_system_id, opts=opts)
    return SharedFolderReference(
        file_system_id=pulumi.Output.from_input(file_system.file_system_id),
        arn=pulumi.Output.from_input(file_system.arn),
        mount_targets={},
    )


def _policy(arn: str, args: SharedFolderArgs) -> str:
    """Admit the cluster's node roles through a mount target, refuse all other clients and everything that is not TLS.

    Roles are admitted by their IAM path, so that a new follower changes nothing here, nor does a joined stack. Others
    need the refusal: AWS admits whom an identity policy of the account allows it. Only a client's actions are refused,
    so the account's administrators still change this policy, and AWS Backup still reads and restores.
    """
    account = f"arn:{args.partition}:iam::{args.account_id}"
    nodes = f"{account}:role{args.role_path}*"
    return json.dumps(
        policy(
            {
                "Sid": "NodesOfThisCluster",
                "Effect": "Allow",
                "Principal": {"AWS": f"{account}:root"},
                "Action": list(CLIENT_ACTIONS),
                "Resource": arn,
                "Condition": {
                    "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
                    "ArnLike": {"aws:PrincipalArn": nodes},
                },
            },
            {
                "Sid": "NobodyElse",
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": list(CLIENT_ACTIONS),
                "Resource": arn,
                # Holds too where there is no principal: for clients that do not sign in.
                "Condition": {"ArnNotLike": {"aws:PrincipalArn": nodes}},
            },
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": "*",
                "Resource": arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        )
    )
