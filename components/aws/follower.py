"""A follower on AWS: an Auto Scaling group of one."""

from dataclasses import dataclass, field

import pulumi

from components.aws.follower_group import FollowerGroupArgs, follower_group
from components.aws.node_documents import NodeDocument, boot_script, store_specification
from components.aws.node_role import NodeRoleArgs, node_role
from components.aws.readiness import node_ready
from components.aws.shared_folder import SharedFolderReference
from components.aws.site import AwsSite
from components.machines import Node
from model.settings import aws as settings


@dataclass(kw_only=True)
class AwsFollower:
    """A follower's machine, whose group is known once it has converged."""

    site: AwsSite
    """Network, documents, rights."""

    shared_folder: SharedFolderReference
    """File system that the node mounts."""

    profile: settings.GpuProfile
    """GPU profile. Instance types and disk hold for the next machine; the rest changes the specification."""

    follower: settings.Follower
    """The follower's entry in the stack file."""

    availability_zones: tuple[str, ...]
    """Zones the machine may be in. In place."""

    group_name: pulumi.Output[str] = field(init=False)
    """Name of its Auto Scaling group."""

    group_urn: pulumi.Output[str] = field(init=False)
    """What Pulumi calls the group."""

    def converge(self, name: str, node: Node, parent: pulumi.Resource) -> None:
        """Make role, specification and group, and wait until its machine is what the specification says."""
        child = pulumi.ResourceOptions(parent=parent)
        site = self.site
        profile = node_role(
            name,
            NodeRoleArgs(
                node=node.name,
                leaders_secret_arn=None,
                site=site,
                shared_folder=self.shared_folder,
            ),
            child,
        )
        stored = store_specification(
            name,
            site,
            NodeDocument(
                node=node,
                role="follower",
                shared_folder=self.shared_folder,
                instance_types=self.profile.instance_types,
                availability_zones=self.availability_zones,
            ),
            child,
        )
        group = follower_group(
            name,
            FollowerGroupArgs(
                instance_types=self.profile.instance_types,
                image=site.image,
                follower=self.follower,
                root_volume_gib=self.profile.root_volume_gib,
                subnet_ids=[site.subnet_ids[zone] for zone in self.availability_zones],
                security_group_id=site.followers_security_group,
                profile_arn=profile.arn,
                user_data=boot_script(site, node.name),
                specification=stored.object,
                containers_use_role=site.containers_use_role,
                tags=site.tags,
                key=site.encryption_key,
            ),
            parent,
        )
        self.group_name, self.group_urn = group.name, group.urn
        types = pulumi.Output.from_input(",".join(self.profile.instance_types))
        machine = {"group": self.group_name, "types": types}
        node_ready(name, site, node.name, machine, stored, child)


def aws_follower(
    site: AwsSite,
    shared_folder: SharedFolderReference,
    stack_file: settings.FollowersOnAws,
    node: str,
    availability_zones: tuple[str, ...],
) -> AwsFollower:
    """The machine of a follower that a stack file names."""
    return AwsFollower(
        site=site,
        shared_folder=shared_folder,
        profile=stack_file.profile_of(node),
        follower=stack_file.followers[node],
        availability_zones=availability_zones,
    )
