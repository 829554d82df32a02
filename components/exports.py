"""The stack's outputs: what an operator needs next, each a value to copy as it is."""

import pulumi

from components.cluster import Cluster
from model.settings import Settings
from model.workers import node_allocation

PORT_FORWARD = (
    "aws ssm start-session --region {region} --target {target} "
    "--document-name AWS-StartPortForwardingSession "
    "--parameters portNumber=80,localPortNumber=8080"
)
SHELL = "aws ssm start-session --region {region} --target {target}"
FOLLOWER_INSTANCE = (
    "$(aws autoscaling describe-auto-scaling-groups --region {region} "
    "--auto-scaling-group-names {group} "
    "--query AutoScalingGroups[0].Instances[0].InstanceId --output text)"
)


def cluster_exports(
    cluster: Cluster, settings: Settings, region: str
) -> dict[str, pulumi.Input[object]]:
    """Outputs of the stack by name; the README's table lists them."""
    return {
        "postgres": cluster.leader.postgres.as_output(),
        "redis": cluster.leader.redis.as_output(),
        "sharedFolder": cluster.leader.shared_folder.file_system_id,
        "bucket": cluster.bucket,
        "leader": _leader(cluster, settings, region),
        "followers": {
            node: _follower(cluster, settings, node, region) for node in cluster.followers
        },
        "keptData": cluster.kept_data,
    }


def _leader(cluster: Cluster, settings: Settings, region: str) -> dict[str, pulumi.Input[object]]:
    leader = cluster.leader
    return {
        "profile": settings.leader.profile,
        "gpus": node_allocation(settings, "leader").gpus,
        "instanceType": settings.profile_of("leader").instance_types[0],
        "availabilityZone": cluster.placement.leader,
        "instanceId": leader.instance_id,
        "address": leader.address,
        "hostName": leader.host_name,
        "shell": leader.instance_id.apply(
            lambda target: SHELL.format(region=region, target=target)
        ),
        "portForward": leader.instance_id.apply(
            lambda target: PORT_FORWARD.format(region=region, target=target)
        ),
    }


def _follower(
    cluster: Cluster, settings: Settings, node: str, region: str
) -> dict[str, pulumi.Input[object]]:
    def command(template: str) -> pulumi.Output[object]:
        return cluster.followers[node].group_name.apply(
            lambda group: template.format(
                region=region, target=FOLLOWER_INSTANCE.format(region=region, group=group)
            )
        )

    return {
        "profile": settings.followers[node].profile,
        "gpus": node_allocation(settings, node).gpus,
        "instanceTypes": list(settings.profile_of(node).instance_types),
        "market": settings.followers[node].market,
        "availabilityZones": list(cluster.placement.followers[node]),
        "group": cluster.followers[node].group_name,
        "shell": command(SHELL),
        "portForward": command(PORT_FORWARD),
    }
