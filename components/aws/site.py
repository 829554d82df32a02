"""What the nodes of one cluster have in common on AWS, gathered once and handed to each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.aws.documents import AgentArchive
from components.aws.leader_machine import MachineImage
from components.aws.region import Region
from components.aws.sessions import SessionLogs
from model.settings.image import MountHelper
from model.settings.sections import Release


@dataclass(frozen=True, kw_only=True)
class SecretEnv:
    """Where nodes read the stack file's secret variables."""

    arn: pulumi.Output[str]
    """ARN of the secret."""

    version: pulumi.Output[str]
    """Id of its text, which AWS makes up. It says that a value has changed, and nothing of the value."""


@dataclass(frozen=True, kw_only=True)
class AwsSite:
    """The surroundings of a node: network, documents, secret, rights. Made by
    :class:`components.aws.machines.AwsMachines`."""

    cluster: str
    """``<project>/<stack>`` of the leader, the cluster's name in documents. The tags of a stack of followers name the
    stack itself."""

    joined_stack: str | None
    """The stack, where another one has the leader. Part of the names of its nodes' folders, so it never changes."""

    tags: dict[str, str]
    """The cluster's tags, for what a provider's default tags do not reach."""

    region: Region
    """Facts about the account and region."""

    role_path: str
    """IAM path of every node's role."""

    subnet_ids: Mapping[str, pulumi.Input[str]]
    """Zone to private subnet."""

    followers_security_group: pulumi.Input[str]
    """Group of the followers."""

    bucket: pulumi.Output[str]
    """Bucket of the documents."""

    bucket_arn: pulumi.Output[str]
    """ARN of that bucket."""

    agent: AgentArchive
    """The agent that nodes run."""

    followers_secret_arn: pulumi.Output[str]
    """The secret that followers read; the leader fills it at its first boot, and no one else ever does."""

    secret_env: SecretEnv | None
    """Secret variables of the stack file; None where there are none."""

    containers_use_role: bool
    """Whether containers may use their node's role. Closed in place; opened in place on the leader, and for a
    follower's next machine."""

    image: MachineImage
    """Machine image of every node."""

    encryption_key: str | None
    """ARN of the KMS key of disks, bucket and logs; None for AWS's own keys."""

    readable_keys: Sequence[str]
    """The keys of the bucket, the secret and the leader's stack, which nodes decrypt with."""

    sessions: SessionLogs | None
    """The log of shells; None where there is none. In place."""

    mount_helper: MountHelper | None
    """Package of EFS's mount helper, for an image without it. In place."""

    release: Release
    """The Graphistry release, one for the cluster."""
