"""What a machine is told: its constant boot script, and its specification in the bucket.

The specification is the one resource that a changed setting of a running node changes; its agent converges to it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
from pulumi_aws import s3

from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.aws.user_data import user_data
from components.machines import Node
from model.gpu_catalogue import CATALOGUE
from model.specification import (
    aws_specification,
    canonical_json,
    node_prefix,
    specification_key,
)


@dataclass(frozen=True, kw_only=True)
class NodeDocument:
    """Everything a specification says that is not the whole cluster's."""

    node: Node
    """What is the same on every site."""

    role: Literal["leader", "follower"]
    """What it is in the cluster."""

    shared_folder: SharedFolderReference
    """The dataset directory."""

    instance_types: Sequence[str]
    """Types that the machine may have."""

    availability_zones: Sequence[str]
    """Zones that the machine may be in."""

    data_volume_id: pulumi.Input[str | None] = None
    """The leader's data volume; followers have none."""

    leaders_secret_arn: pulumi.Output[str] | None = None
    """The secret that the leader alone reads; followers have none."""


@dataclass(frozen=True, kw_only=True)
class StoredSpecification:
    """A specification in the bucket."""

    object: s3.BucketObjectv2
    """The object; machines are launched after it."""

    sha256: pulumi.Output[str]
    """Hash of its content, by which the node's report says what it is about."""


def boot_script(site: AwsSite, node: str) -> pulumi.Output[str]:
    """The user data of a node's machine; it never changes in the life of a cluster."""
    return site.bucket.apply(
        lambda bucket: user_data(region=site.region.name, bucket=bucket, prefix=node_prefix(node))
    )


def store_specification(
    name: str, site: AwsSite, document: NodeDocument, opts: pulumi.ResourceOptions
) -> StoredSpecification:
    """Write a node's specification where its agent looks for it. A change is in place."""
    node = document.node

    def content(known: dict[str, Any]) -> str:
        return canonical_json(
            aws_specification(
                cluster=site.cluster,
                node=node.name,
                joined_stack=site.joined_stack,
                role=document.role,
                region=site.region.name,
                bucket=known["bucket"],
                agent_key=known["agent_key"],
                agent_sha256=site.agent.sha256,
                postgres={"host": known["postgres"], "port": node.postgres.port},
                redis={"host": known["redis"], "port": node.redis.port},
                file_system_id=known["file_system_id"],
                mount_targets=known["mount_targets"],
                data_volume_id=known["data_volume_id"],
                instance_types=document.instance_types,
                gpu=node.gpu,
                release=site.release,
                secret_arn=known["leaders_secret_arn"] or known["followers_secret_arn"],
                followers_secret_arn=known["followers_secret_arn"]
                if known["leaders_secret_arn"]
                else None,
                containers_use_role=site.containers_use_role,
                mount_helper=site.mount_helper,
                configuration=node.configuration,
                secret_env=known["secret_env"],
                use_local_disks=all(
                    CATALOGUE[each].local_disk_gb > 0 for each in document.instance_types
                ),
            )
        )

    text = pulumi.Output.all(
        bucket=site.bucket,
        agent_key=site.agent.key,
        followers_secret_arn=site.followers_secret_arn,
        leaders_secret_arn=document.leaders_secret_arn,
        secret_env={"arn": site.secret_env.arn, "version": site.secret_env.version}
        if site.secret_env
        else None,
        postgres=node.postgres.host,
        redis=node.redis.host,
        file_system_id=document.shared_folder.file_system_id,
        # Only the node's own, so that another node in another zone changes nothing here.
        mount_targets={
            zone: document.shared_folder.mount_targets[zone]
            for zone in document.availability_zones
            if zone in document.shared_folder.mount_targets
        },
        data_volume_id=document.data_volume_id,
    ).apply(content)
    stored = s3.BucketObjectv2(
        f"{name}-specification",
        bucket=site.bucket,
        key=specification_key(node.name),
        content=text,
        content_type="application/json",
        opts=opts,
    )
    return StoredSpecification(
        object=stored, sha256=text.apply(lambda known: hashlib.sha256(known.encode()).hexdigest())
    )
