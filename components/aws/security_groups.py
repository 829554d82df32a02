"""Who may talk to whom: every port that is open in a cluster is opened in this file.

No rule opens port 22: operators reach nodes through Systems Manager. What a rule does not name is closed,
in both directions.
"""

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, vpc

from model.specification import POSTGRES_PORT, REDIS_PORT
from model.tags import named

NFS_PORT = 2049
"""NFS version 4, the only port of EFS (AWS: working with VPC security groups for EFS)."""

INGRESS, EGRESS = vpc.SecurityGroupIngressRule, vpc.SecurityGroupEgressRule

WEB_PORTS = {"http": 80, "https": 443}
"""Published by caddy, the product's entry proxy (graphistry-cli, architecture)."""


@dataclass(frozen=True, kw_only=True)
class SecurityGroupsArgs:
    """Inputs of :class:`SecurityGroups`. All but ``vpc_id`` change in place."""

    vpc_id: pulumi.Input[str]
    """VPC of the cluster. Changing it replaces the groups."""

    allowed_cidrs: tuple[str, ...]
    """IPv4 networks whose users reach the web pages of the nodes; empty: nobody."""

    existing_shared_folder_cidr: pulumi.Input[str] | None = None
    """Range that holds the mount targets of a file system which exists already; ``None``: a group is made
    for the cluster's own file system."""


class SecurityGroups(pulumi.ComponentResource):
    """The security groups of a cluster and all their rules.

    Creates: a group each for the leader, the followers and the shared folder; ingress for PostgreSQL, Redis,
    NFS and the web pages; egress for those and for HTTP(S) to package archives and AWS.
    """

    leader: pulumi.Output[str]
    """Id of the leader's group."""

    followers: pulumi.Output[str]
    """Id of the group that all followers share."""

    shared_folder: pulumi.Output[str] | None
    """Id of the group of the file system's mount targets; ``None`` for an existing file system."""

    def __init__(
        self, name: str, args: SecurityGroupsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:SecurityGroups", name, {}, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        leader = self._group(f"{name}-leader", args.vpc_id, "Leader of a Graphistry cluster")
        followers = self._group(
            f"{name}-followers", args.vpc_id, "Followers of a Graphistry cluster"
        )
        for group, role in ((leader, "leader"), (followers, "followers")):
            for protocol, port in WEB_PORTS.items():
                # 80 is for the operating system's package archives, 443 for AWS, the release and images.
                self._rule(EGRESS, f"{name}-{role}-to-{protocol}", group, port, "0.0.0.0/0")
                for cidr in args.allowed_cidrs:
                    self._rule(INGRESS, f"{name}-{role}-{protocol}-from-{cidr}", group, port, cidr)
        for service, port in (("postgres", POSTGRES_PORT), ("redis", REDIS_PORT)):
            self._rule(INGRESS, f"{name}-leader-{service}", leader, port, followers)
            self._rule(EGRESS, f"{name}-followers-to-{service}", followers, port, leader)

        self.shared_folder = None
        if args.existing_shared_folder_cidr is None:
            folder = self._group(
                f"{name}-shared-folder", args.vpc_id, "Shared folder of a Graphistry cluster"
            )
            for group, role in ((leader, "leader"), (followers, "followers")):
                self._rule(INGRESS, f"{name}-shared-folder-from-{role}", folder, NFS_PORT, group)
                self._rule(EGRESS, f"{name}-{role}-to-shared-folder", group, NFS_PORT, folder)
            self.shared_folder = folder.id
        else:
            for group, role in ((leader, "leader"), (followers, "followers")):
                self._rule(
                    EGRESS,
                    f"{name}-{role}-to-shared-folder",
                    group,
                    NFS_PORT,
                    args.existing_shared_folder_cidr,
                )
        self.leader = leader.id
        self.followers = followers.id
        self.register_outputs(
            {
                "leader": self.leader,
                "followers": self.followers,
                "shared_folder": self.shared_folder,
            }
        )

    def _group(self, name: str, vpc_id: pulumi.Input[str], description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            name, vpc_id=vpc_id, description=description, tags=named(name), opts=self._child
        )

    def _rule(
        self,
        kind: type[vpc.SecurityGroupIngressRule] | type[vpc.SecurityGroupEgressRule],
        name: str,
        group: ec2.SecurityGroup,
        port: int,
        peer: ec2.SecurityGroup | pulumi.Input[str],
    ) -> None:
        """Open one TCP port of *group* from or to *peer*, another group or an IPv4 range."""
        kind(
            name,
            security_group_id=group.id,
            description=name,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            referenced_security_group_id=peer.id if isinstance(peer, ec2.SecurityGroup) else None,
            cidr_ipv4=None if isinstance(peer, ec2.SecurityGroup) else peer,
            tags=named(name),
            opts=self._child,
        )
