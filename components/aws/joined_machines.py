"""The machines of followers on AWS whose leader another stack has: its network, shared folder, secret and release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import ec2

from components.aws.budget_alarm import budget_alarm
from components.aws.documents import Documents, DocumentsArgs
from components.aws.exports import follower_export, session_export
from components.aws.follower import AwsFollower, aws_follower
from components.aws.names import check_names
from components.aws.region import machine_image, read_region
from components.aws.secret_env import secret_env
from components.aws.sessions import session_logs
from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.aws.spot_fallback import spot_fallback
from components.leader_stack import LeaderStackError
from model.placement import place_followers
from model.settings.aws import JoinedSettings
from model.settings.sections import Release
from model.tags import LEADER_TAG, cluster_tags


@dataclass(frozen=True, kw_only=True)
class JoinedAwsMachinesArgs:
    """Inputs of :class:`JoinedAwsMachines`."""

    settings: JoinedSettings
    """The stack file."""

    leader: Mapping[str, Any]
    """The output ``join`` of the leader's stack."""

    project: str
    """Pulumi project, for the tags."""

    stack: str
    """Pulumi stack, for the tags and the path of its roles."""

    region: str
    """AWS region, which must be the leader's."""

    identity: str
    """What tells the cluster from others of its name, for its tag. Changed in place."""

    delete_data: bool
    """Lifts the protection of the bucket."""


class JoinedAwsMachines:
    """What a stack's followers have in common on AWS, and the machine of each.

    Creates below *cluster*: :class:`Documents` and secret variables of its own, and :class:`SpotFallback` if one
    of them is on spot.
    """

    def __init__(self, name: str, args: JoinedAwsMachinesArgs, cluster: pulumi.Resource) -> None:
        check_names(name, args.settings)
        joined = args.leader
        if joined["region"] != args.region:
            raise LeaderStackError(
                f"aws:region: got {args.region!r}; the leader of {args.settings.leader_stack} is in "
                f"{joined['region']!r}, and a cluster is in one region"
            )
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=cluster)
        key = args.settings.encryption_key
        invoke = pulumi.InvokeOptions(parent=cluster)
        if not args.delete_data:  # the data of a stack can be deleted whoever is left
            _require_leader(args.settings.leader_stack, joined, invoke)
        region = read_region(args.region, args.settings.instance_types, invoke)
        folder = joined["sharedFolder"]
        release = Release.model_validate(joined["release"])
        # Where the leader's stack made mount targets; a file system that existed already has its own everywhere.
        zones = sorted(folder["mountTargets"] or joined["subnetIds"])
        self.placement = place_followers(args.settings, zones, region.offerings)
        self.shared_folder = SharedFolderReference(
            file_system_id=pulumi.Output.from_input(folder["fileSystemId"]),
            arn=pulumi.Output.from_input(folder["arn"]),
            mount_targets={
                zone: pulumi.Output.from_input(address)
                for zone, address in folder["mountTargets"].items()
            },
        )
        documents = Documents(
            f"{name}-documents", DocumentsArgs(delete_data=args.delete_data, key=key), self._child
        )
        # Below the leader's, whose shared folder admits the roles under its path.
        role_path = f"{joined['rolePath']}{args.stack}/"
        self.site = AwsSite(
            cluster=joined["cluster"],
            joined_stack=args.stack,
            tags={
                **cluster_tags(args.project, args.stack, args.identity, args.settings.tags),
                LEADER_TAG: joined["cluster"],
            },
            region=region,
            role_path=role_path,
            subnet_ids=joined["subnetIds"],
            followers_security_group=joined["followersSecurityGroup"],
            bucket=documents.bucket,
            bucket_arn=documents.bucket_arn,
            agent=documents.agent,
            followers_secret_arn=pulumi.Output.from_input(joined["secretArn"]),
            secret_env=secret_env(
                name, args.settings.secret_env, region, role_path, key, self._child
            ),
            containers_use_role=args.settings.instance_metadata == "containers",
            image=machine_image(args.settings.image, args.region, release, invoke),
            encryption_key=key,
            # An earlier version of the leader's stack has no such output.
            readable_keys=sorted({each for each in (key, joined.get("encryptionKey")) if each}),
            sessions=session_logs(name, key, self._child, delete_data=args.delete_data)
            if args.settings.shells.logged
            else None,
            mount_helper=args.settings.image.mount_helper,
            release=release,
        )
        self.leader = None
        self.followers: dict[str, AwsFollower] = {}
        self.kept_data: dict[str, pulumi.Output[str]] = {"bucket": documents.bucket}

    def follower(self, node: str) -> AwsFollower:
        """The machine of a follower by name."""
        self.followers[node] = aws_follower(
            self.site, self.shared_folder, self._args.settings, node, self.placement[node]
        )
        return self.followers[node]

    def complete(self) -> None:
        """Make the fallback of the followers on spot and the alarm of the budget."""
        spot_fallback(self._name, self.site, self.followers, self._child)
        args = self._args
        budget_alarm(self._name, args.settings.budget, f"{args.project}/{args.stack}", self._child)

    def join(self) -> dict[str, pulumi.Input[object]]:
        """Nothing: other stacks join the leader's."""
        return {}

    def exports(self) -> dict[str, pulumi.Input[object]]:
        """``bucket`` and ``followers``."""
        settings, region = self._args.settings, self.site.region.name
        return {
            "bucket": self.site.bucket,
            **session_export(self.site),
            "followers": {
                node: follower_export(
                    node, machine, settings, self.placement, region, self.site.sessions
                )
                for node, machine in self.followers.items()
            },
        }


def _require_leader(stack: str, joined: Mapping[str, Any], opts: pulumi.InvokeOptions) -> None:
    """Raise :class:`LeaderStackError` where AWS has the leader's machine no more.

    A stack that was ended and whose data is kept still has its outputs: they do not say whether the leader is there.
    """
    machine = joined["leader"]["instanceId"]
    found = ec2.get_instances(
        filters=[ec2.GetInstancesFilterArgs(name="instance-id", values=[machine])],
        instance_state_names=["pending", "running", "stopping", "stopped"],
        opts=opts,
    )
    if not found.ids:
        raise LeaderStackError(
            f"leaderStack: the leader of {stack} is gone: its machine was {machine}, and AWS has it no more. "
            f"`./cluster up {stack.rpartition('/')[2]}` brings it back, with the data that was kept"
        )
