"""A follower of a cluster: ingests and visualizes on GPUs of its own, with the leader's data services."""

from dataclasses import dataclass

import pulumi

from components.aws.follower_group import FollowerGroupArgs, follower_group
from components.aws.node_documents import NodeDocument, boot_script, store_specification
from components.aws.node_role import NodeRoleArgs, node_role
from components.aws.readiness import node_ready
from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.endpoint import Endpoint
from model import settings
from model.workers import GpuAllocation


@dataclass(frozen=True, kw_only=True)
class FollowerNodeArgs:
    """Inputs of :class:`FollowerNode`. The leader's three outputs have no default: a follower without a leader
    cannot be written down."""

    node: str
    """The follower's key in the stack file. Another name is another follower."""

    site: AwsSite
    """Network, documents, rights."""

    postgres: Endpoint
    """The leader's PostgreSQL. Changes the specification only."""

    redis: Endpoint
    """The leader's Redis, for Nexus and forge-etl-python. Changes the specification only."""

    shared_folder: SharedFolderReference
    """The leader's dataset directory. Changes the specification and the role's rights."""

    profile: settings.GpuProfile
    """GPU profile. Instance types and disk hold for the next machine; the rest changes the specification."""

    gpu: GpuAllocation
    """GPUs and workers. Changes the specification only; the agent converges in place."""

    follower: settings.Follower
    """The follower's entry in the stack file."""

    availability_zones: tuple[str, ...]
    """Zones the machine may be in. In place."""

    def __post_init__(self) -> None:
        for field in ("postgres", "redis"):
            if not isinstance(getattr(self, field), Endpoint):
                raise TypeError(
                    f"{field}: got {getattr(self, field)!r}; a follower needs the leader's {field} endpoint, "
                    f"LeaderNode.{field}"
                )
        if not isinstance(self.shared_folder, SharedFolderReference):
            raise TypeError(
                f"shared_folder: got {self.shared_folder!r}; a follower needs LeaderNode.shared_folder"
            )


class FollowerNode(pulumi.ComponentResource):
    """One follower.

    Creates: its role, its Auto Scaling group of one machine, its specification, the wait for its readiness.
    """

    group_name: pulumi.Output[str]
    """Name of its Auto Scaling group."""

    def __init__(
        self, name: str, args: FollowerNodeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:FollowerNode", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        site, node = args.site, args.node
        profile = node_role(
            name,
            NodeRoleArgs(node=node, role="follower", site=site, shared_folder=args.shared_folder),
            child,
        )
        stored = store_specification(
            name,
            site,
            NodeDocument(
                node=node,
                role="follower",
                postgres=args.postgres,
                redis=args.redis,
                shared_folder=args.shared_folder,
                instance_types=args.profile.instance_types,
                availability_zones=args.availability_zones,
                gpu=args.gpu,
            ),
            child,
        )
        self.group_name = follower_group(
            name,
            FollowerGroupArgs(
                instance_types=args.profile.instance_types,
                image=site.image,
                market=args.follower.market,
                root_volume_gib=args.profile.root_volume_gib,
                subnet_ids=[site.subnet_ids[zone] for zone in args.availability_zones],
                security_group_id=site.followers_security_group,
                profile_arn=profile.arn,
                user_data=boot_script(site, node),
                specification=stored.object,
                tags=site.tags,
            ),
            self,
        )
        node_ready(name, site, node, {"group": self.group_name}, stored, child)
        self.register_outputs({"group_name": self.group_name})
