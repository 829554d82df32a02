"""The stack's outputs on AWS: what an operator needs next, each a value to copy as it is."""

from collections.abc import Mapping

import pulumi

from components.aws.follower import AwsFollower
from components.aws.leader import AwsLeader
from components.aws.sessions import SessionLogs
from components.aws.site import AwsSite
from model.placement import Placement
from model.settings.aws import FollowersOnAws, Settings
from model.workers import node_allocation

PORT_FORWARD = (
    "aws ssm start-session --region {region} --target {target} "
    "--document-name AWS-StartPortForwardingSession "
    "--parameters portNumber=80,localPortNumber=8080"
)
SHELL = "aws ssm start-session --region {region} --target {target}"
NEW_MACHINE = "pulumi up --stack {stack} --replace '{urn}'"
"""Replaces a follower's group alone: the new machine, of the market in the stack file, is there before the old one
ends."""
FOLLOWER_INSTANCE = (
    "$(aws autoscaling describe-auto-scaling-groups --region {region} "
    "--auto-scaling-group-names {group} "
    "--query AutoScalingGroups[0].Instances[0].InstanceId --output text)"
)


def aws_exports(
    site: AwsSite,
    settings: Settings,
    placement: Placement,
    leader: AwsLeader,
    followers: Mapping[str, AwsFollower],
) -> dict[str, pulumi.Input[object]]:
    """``bucket``, ``leader`` and ``followers``."""
    region = site.region.name
    return {
        "bucket": site.bucket,
        **session_export(site),
        "leader": _leader(leader, settings, placement, region, site.sessions),
        "followers": {
            node: follower_export(
                node, machine, settings, placement.followers, region, site.sessions
            )
            for node, machine in followers.items()
        },
    }


def session_export(site: AwsSite) -> dict[str, pulumi.Input[object]]:
    """``sessionDocument``, by which shells are logged; nothing where they are not."""
    return {"sessionDocument": site.sessions.document} if site.sessions else {}


def _shell(shell: pulumi.Output[str], sessions: SessionLogs | None) -> pulumi.Output[str]:
    """The command of a shell, which a document has logged."""
    if sessions is None:
        return shell
    return pulumi.Output.concat(shell, " --document-name ", sessions.document)


def _leader(
    leader: AwsLeader,
    settings: Settings,
    placement: Placement,
    region: str,
    sessions: SessionLogs | None,
) -> dict[str, pulumi.Input[object]]:
    return {
        "profile": settings.leader.profile,
        "gpus": node_allocation(settings, "leader").gpus,
        "instanceType": settings.profile_of("leader").instance_types[0],
        "availabilityZone": placement.leader,
        "instanceId": leader.instance_id,
        "address": leader.address,
        "hostName": leader.host_name,
        "shell": _shell(
            leader.instance_id.apply(lambda target: SHELL.format(region=region, target=target)),
            sessions,
        ),
        "portForward": leader.instance_id.apply(
            lambda target: PORT_FORWARD.format(region=region, target=target)
        ),
    }


def follower_export(
    node: str,
    machine: AwsFollower,
    settings: FollowersOnAws,
    zones: Mapping[str, tuple[str, ...]],
    region: str,
    sessions: SessionLogs | None,
) -> dict[str, pulumi.Input[object]]:
    """What an operator may want to know of a follower."""

    def command(template: str) -> pulumi.Output[str]:
        return machine.group_name.apply(
            lambda group: template.format(
                region=region, target=FOLLOWER_INSTANCE.format(region=region, group=group)
            )
        )

    return {
        "profile": settings.followers[node].profile,
        "gpus": node_allocation(settings, node).gpus,
        "instanceTypes": list(settings.profile_of(node).instance_types),
        "market": settings.followers[node].market,
        "availabilityZones": list(zones[node]),
        "group": machine.group_name,
        "newMachine": machine.group_urn.apply(
            lambda urn: NEW_MACHINE.format(stack=pulumi.get_stack(), urn=urn)
        ),
        "shell": _shell(command(SHELL), sessions),
        "portForward": command(PORT_FORWARD),
    }
