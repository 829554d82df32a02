"""A whole cluster: the network, the shared folder, the documents and the secret; the leader; the followers."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import secretsmanager

from components.aws.documents import Documents, DocumentsArgs
from components.aws.network import Network, NetworkArgs, NetworkReference, existing_network
from components.aws.protection import kept
from components.aws.region import Region, machine_image, read_region
from components.aws.security_groups import SecurityGroups, SecurityGroupsArgs
from components.aws.shared_folder import (
    SharedFolder,
    SharedFolderArgs,
    SharedFolderReference,
    existing_shared_folder,
)
from components.aws.site import AwsSite
from components.aws.spot_fallback import SpotFallback, SpotFallbackArgs
from components.follower_node import FollowerNode, FollowerNodeArgs
from components.leader_node import NAME as LEADER
from components.leader_node import LeaderNode, LeaderNodeArgs
from model.placement import Placement, place
from model.settings import Problem, Settings, SettingsError
from model.tags import cluster_tags, named
from model.workers import node_allocation

SECRET_RECOVERY_DAYS = 30
"""How long a deleted secret can be restored; the longest that Secrets Manager offers."""

ROLE_NAME_LIMIT = 64
"""Longest name of an IAM role or instance profile (AWS: IAM quotas)."""

LONGEST_SUFFIX = len("-profile-1234567")
"""What the longest physical name adds to a node's name; Pulumi appends the digits."""


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """Inputs of :class:`Cluster`."""

    settings: Settings
    """The stack file. What a change of each key does is said there and in ``model/settings.py``."""

    project: str
    """Pulumi project, for the cluster's tag."""

    stack: str
    """Pulumi stack, for the cluster's tag and the path of its roles."""

    region: str
    """AWS region. Another region is another cluster."""

    delete_data: bool
    """Whether the stack file spells the stack's name under ``deleteData``: lifts the protection of all data."""


class Cluster(pulumi.ComponentResource):
    """One leader, any number of followers, one shared folder.

    Creates: :class:`Network` (unless one exists), :class:`SecurityGroups`, :class:`SharedFolder` (unless one
    exists), :class:`Documents`, the secret (kept, empty: the leader fills it), :class:`LeaderNode`, a
    :class:`FollowerNode` per entry of ``followers``, and :class:`SpotFallback` when one of them is on spot.
    """

    leader: LeaderNode
    """The leader."""

    followers: dict[str, FollowerNode]
    """The followers by name."""

    placement: Placement
    """The zones of every node."""

    bucket: pulumi.Output[str]
    """Bucket of specifications and reports."""

    secret_arn: pulumi.Output[str]
    """ARN of the cluster's secret."""

    kept_data: dict[str, pulumi.Output[str]]
    """What outlives ``destroy``: the kind of each to its id."""

    def __init__(
        self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        _check_names(name, args.settings)
        super().__init__("graphistry-cluster:index:Cluster", name, {}, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self._invoke = pulumi.InvokeOptions(parent=self)
        region = read_region(args.region, self._instance_types(), self._invoke)
        image = machine_image(args.settings.image, self._invoke)
        role_path = f"/{args.project}/{args.stack}/"

        network = self._network(region)
        existing_id = args.settings.shared_folder.file_system_id
        groups = SecurityGroups(
            name,
            SecurityGroupsArgs(
                vpc_id=network.vpc_id,
                allowed_cidrs=args.settings.access.allowed_cidrs,
                existing_shared_folder_cidr=network.cidr_block if existing_id else None,
            ),
            self._child,
        )
        self.kept_data = {}
        shared_folder = self._shared_folder(region, network, groups, role_path)
        documents = Documents(
            f"{name}-documents", DocumentsArgs(delete_data=args.delete_data), self._child
        )
        secret = secretsmanager.Secret(
            f"{name}-secret",
            description="Passwords and keys of a Graphistry cluster, filled by its leader once",
            recovery_window_in_days=SECRET_RECOVERY_DAYS,
            tags=named(f"{name}-secret"),
            opts=kept(self, delete_data=args.delete_data),
        )
        self.bucket, self.secret_arn = documents.bucket, secret.arn
        site = AwsSite(
            cluster=f"{args.project}/{args.stack}",
            tags=cluster_tags(args.project, args.stack, args.settings.tags),
            region=region,
            role_path=role_path,
            vpc_id=network.vpc_id,
            subnet_ids=network.subnet_ids,
            leader_security_group=groups.leader,
            followers_security_group=groups.followers,
            bucket=documents.bucket,
            bucket_arn=documents.bucket_arn,
            agent=documents.agent,
            secret_arn=secret.arn,
            image=image,
            release=args.settings.release,
        )
        self.leader = LeaderNode(
            f"{name}-{LEADER}",
            LeaderNodeArgs(
                site=site,
                shared_folder=shared_folder,
                profile=args.settings.profile_of(LEADER),
                gpu=node_allocation(args.settings, LEADER),
                leader=args.settings.leader,
                availability_zone=self.placement.leader,
                delete_data=args.delete_data,
            ),
            self._child,
        )
        self.followers = {
            node: FollowerNode(
                f"{name}-{node}",
                FollowerNodeArgs(
                    node=node,
                    site=site,
                    postgres=self.leader.postgres,
                    redis=self.leader.redis,
                    shared_folder=self.leader.shared_folder,
                    profile=args.settings.profile_of(node),
                    gpu=node_allocation(args.settings, node),
                    follower=follower,
                    availability_zones=self.placement.followers[node],
                ),
                self._child,
            )
            for node, follower in args.settings.followers.items()
        }
        self._spot_fallback(region, role_path)
        self.kept_data |= {
            "dataVolume": self.leader.data_volume_id,
            "bucket": documents.bucket,
            "secret": secret.arn,
        }
        self.register_outputs(
            {
                "postgres": self.leader.postgres.as_output(),
                "redis": self.leader.redis.as_output(),
                "bucket": self.bucket,
            }
        )

    def _instance_types(self) -> set[str]:
        settings = self._args.settings
        return {
            instance_type
            for node in (LEADER, *settings.followers)
            for instance_type in settings.profile_of(node).instance_types
        }

    def _network(self, region: Region) -> NetworkReference:
        """The network of the cluster. Every node is placed before anything is made."""
        settings = self._args.settings
        network = settings.network
        if network.vpc_id is not None:
            existing = existing_network(network, self._invoke)
            self.placement = place(settings, list(existing.subnet_ids), region.offerings)
            return existing
        zones = network.availability_zones or region.availability_zones
        self.placement = place(settings, zones, region.offerings)
        return Network(
            f"{self._name}-network",
            NetworkArgs(network=network, availability_zones=zones, region=region.name),
            self._child,
        ).reference

    def _shared_folder(
        self, region: Region, network: NetworkReference, groups: SecurityGroups, role_path: str
    ) -> SharedFolderReference:
        existing_id = self._args.settings.shared_folder.file_system_id
        if existing_id is not None or groups.shared_folder is None:
            return existing_shared_folder(str(existing_id), self._invoke)
        folder = SharedFolder(
            f"{self._name}-shared-folder",
            SharedFolderArgs(
                shared_folder=self._args.settings.shared_folder,
                subnet_ids={zone: network.subnet_ids[zone] for zone in self.placement.zones},
                security_group_id=groups.shared_folder,
                role_path=role_path,
                account_id=region.account_id,
                partition=region.partition,
                delete_data=self._args.delete_data,
            ),
            self._child,
        )
        self.kept_data["sharedFolder"] = folder.reference.file_system_id
        return folder.reference

    def _spot_fallback(self, region: Region, role_path: str) -> None:
        followers = self._args.settings.followers
        on_spot = {
            node: self.followers[node].group_name
            for node, follower in followers.items()
            if follower.market == "spot"
        }
        if on_spot:
            SpotFallback(
                f"{self._name}-spot-fallback",
                SpotFallbackArgs(
                    group_names=on_spot,
                    group_prefix=f"{self._name}-",
                    node_role_path=role_path,
                    region=region.name,
                    account_id=region.account_id,
                    partition=region.partition,
                ),
                self._child,
            )


def _check_names(name: str, settings: Settings) -> None:
    """Raise :class:`SettingsError` for every node whose physical names would be longer than AWS takes."""
    limit = ROLE_NAME_LIMIT - LONGEST_SUFFIX - len(name) - 1
    problems = [
        Problem(
            path=f"followers.{node}",
            got=f"a name of {len(node)} characters",
            allowed=f"{limit} characters in the cluster {name}, because AWS ends the name of a role "
            f"at {ROLE_NAME_LIMIT}",
            hint="shorten the name of the follower or of the stack",
        )
        for node in settings.followers
        if len(node) > limit
    ]
    if problems:
        raise SettingsError(tuple(problems))
