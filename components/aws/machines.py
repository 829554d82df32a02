"""The machines of a cluster on AWS: network, security groups, shared folder, documents and secret for all of them."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import secretsmanager

from components.aws.budget_alarm import budget_alarm
from components.aws.documents import Documents, DocumentsArgs
from components.aws.exports import aws_exports
from components.aws.follower import AwsFollower, aws_follower
from components.aws.leader import AwsLeader
from components.aws.names import check_names
from components.aws.network import Network, NetworkArgs, NetworkReference, existing_network
from components.aws.protection import kept
from components.aws.region import Region, machine_image, read_region
from components.aws.secret_env import secret_env
from components.aws.security_groups import SecurityGroups, SecurityGroupsArgs
from components.aws.sessions import session_logs
from components.aws.shared_folder import (
    SharedFolder,
    SharedFolderArgs,
    SharedFolderReference,
    existing_shared_folder,
)
from components.aws.site import AwsSite
from components.aws.spot_fallback import spot_fallback
from components.leader_node import NAME as LEADER
from model.placement import Placement, place
from model.settings.aws import Settings
from model.tags import cluster_tags, named

SECRETS = {
    "secret": "Passwords and keys of a Graphistry cluster, filled by its leader once",
    "followers-secret": "What followers of a Graphistry cluster need of its passwords and keys, filled by its leader",
}
"""What the names of the two secrets end with, and what AWS shows of each."""

SECRET_RECOVERY_DAYS = 30
"""How long a deleted secret can be restored; the longest that Secrets Manager offers."""


@dataclass(frozen=True, kw_only=True)
class AwsMachinesArgs:
    """Inputs of :class:`AwsMachines`."""

    settings: Settings
    """The stack file."""

    project: str
    """Pulumi project, for the cluster's tag."""

    stack: str
    """Pulumi stack, for the cluster's tag and the path of its roles."""

    region: str
    """AWS region. Another region is another cluster."""

    identity: str
    """What tells the cluster from others of its name, for its tag. Changed in place."""

    delete_data: bool
    """Whether the stack file spells the stack's name under ``deleteData``: lifts the protection of all data."""


class AwsMachines:
    """What the nodes of one cluster have in common on AWS, and the machine of each.

    Creates below *cluster*: :class:`Network` (unless one exists), :class:`SecurityGroups`, :class:`SharedFolder`
    (unless one exists), :class:`Documents`, the secrets of the leader and of the followers (kept, empty: the leader
    fills them), the stack file's secret variables, and when all followers are there :class:`SpotFallback`, if one of
    them is on spot, and the alarm of the budget, if somebody wants mail. No component itself: the nodes are the
    cluster's children.
    """

    placement: Placement
    """The zones of every node."""

    def __init__(self, name: str, args: AwsMachinesArgs, cluster: pulumi.Resource) -> None:
        check_names(name, args.settings)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=cluster)
        key = args.settings.encryption_key
        self._invoke = pulumi.InvokeOptions(parent=cluster)
        region = read_region(args.region, args.settings.instance_types, self._invoke)
        image = machine_image(args.settings.image, args.region, args.settings.release, self._invoke)
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
        self.kept_data: dict[str, pulumi.Output[str]] = {}
        self.shared_folder = self._shared_folder(region, network, groups, role_path)
        documents = Documents(
            f"{name}-documents", DocumentsArgs(delete_data=args.delete_data, key=key), self._child
        )
        secret, followers_secret = (
            secretsmanager.Secret(
                f"{name}-{what}",
                description=description,
                recovery_window_in_days=SECRET_RECOVERY_DAYS,
                kms_key_id=key,
                tags=named(f"{name}-{what}"),
                opts=kept(cluster, delete_data=args.delete_data),
            )
            for what, description in SECRETS.items()
        )
        self.site = AwsSite(
            cluster=f"{args.project}/{args.stack}",
            joined_stack=None,
            tags=cluster_tags(args.project, args.stack, args.identity, args.settings.tags),
            region=region,
            role_path=role_path,
            subnet_ids=network.subnet_ids,
            followers_security_group=groups.followers,
            bucket=documents.bucket,
            bucket_arn=documents.bucket_arn,
            agent=documents.agent,
            followers_secret_arn=followers_secret.arn,
            secret_env=secret_env(
                name, args.settings.secret_env, region, role_path, key, self._child
            ),
            containers_use_role=args.settings.instance_metadata == "containers",
            image=image,
            encryption_key=key,
            readable_keys=[key] if key else [],
            sessions=session_logs(name, key, self._child, delete_data=args.delete_data)
            if args.settings.shells.logged
            else None,
            mount_helper=args.settings.image.mount_helper,
            release=args.settings.release,
        )
        self.leader = AwsLeader(
            site=self.site,
            secret_arn=secret.arn,
            vpc_id=network.vpc_id,
            security_group_id=groups.leader,
            shared_folder=self.shared_folder,
            profile=args.settings.profile_of(LEADER),
            leader=args.settings.leader,
            availability_zone=self.placement.leader,
            delete_data=args.delete_data,
        )
        self.followers: dict[str, AwsFollower] = {}
        self._secret_arn = secret.arn

    def follower(self, node: str) -> AwsFollower:
        """The machine of a follower by name."""
        self.followers[node] = aws_follower(
            self.site, self.shared_folder, self._args.settings, node, self.placement.followers[node]
        )
        return self.followers[node]

    def complete(self) -> None:
        """Make the fallback of the followers on spot and the alarm of the budget, and say what is kept."""
        spot_fallback(self._name, self.site, self.followers, self._child)
        args = self._args
        budget_alarm(self._name, args.settings.budget, f"{args.project}/{args.stack}", self._child)
        self.kept_data |= {
            "dataVolume": self.leader.data_volume_id,
            "bucket": self.site.bucket,
            "secret": self._secret_arn,
            "followersSecret": self.site.followers_secret_arn,
        }

    def join(self) -> dict[str, pulumi.Input[object]]:
        """What followers of other stacks need of this one, all of it plain ids."""
        site = self.site
        return {
            "site": "aws",
            "cluster": site.cluster,
            "region": site.region.name,
            "rolePath": site.role_path,
            "subnetIds": dict(site.subnet_ids),
            "followersSecurityGroup": site.followers_security_group,
            "sharedFolder": {
                "fileSystemId": self.shared_folder.file_system_id,
                "arn": self.shared_folder.arn,
                "mountTargets": dict(self.shared_folder.mount_targets),
            },
            "secretArn": site.followers_secret_arn,
            "bucket": site.bucket,
            "encryptionKey": site.encryption_key,
            "release": site.release.model_dump(by_alias=True),
            "leader": {"instanceId": self.leader.instance_id, "address": self.leader.address},
        }

    def exports(self) -> dict[str, pulumi.Input[object]]:
        """Outputs of the stack that only this site has."""
        return aws_exports(
            self.site, self._args.settings, self.placement, self.leader, self.followers
        )

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
            NetworkArgs(
                network=network,
                availability_zones=zones,
                region=region.name,
                key=settings.encryption_key,
            ),
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
                key=self._args.settings.encryption_key,
                delete_data=self._args.delete_data,
            ),
            self._child,
        )
        self.kept_data["sharedFolder"] = folder.reference.file_system_id
        return folder.reference
