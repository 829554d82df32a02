"""A follower's machine on AWS: a group of one, so that AWS itself finds capacity and replaces a dead machine."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import autoscaling, ec2

from components.aws.leader_machine import SLOW_END, MachineImage, hop_limit
from model.settings import aws as settings
from model.tags import named

BOOT_GRACE_SECONDS = 1800
"""How long EC2's status checks are not acted upon. A first boot loads 10 to 20 GB of images (graphistry-cli,
hardware)."""

PERCENTAGE = "mixedInstancesPolicy.instancesDistribution.onDemandPercentageAboveBaseCapacity"
"""What the spot fallback changes in a group that exists (:mod:`components.aws.spot_fallback`)."""


@dataclass(frozen=True, kw_only=True)
class FollowerGroupArgs:
    """Inputs of :func:`follower_group`. A change holds for the next machine; the present one keeps what it booted
    with, and is replaced only by another market, when its instance type is listed no more
    (:mod:`operate.nodes.group_members`), and by AWS when it is outside the subnets."""

    instance_types: Sequence[str]
    """EC2 instance types in the order of preference."""

    image: MachineImage
    """Machine image of the next machine."""

    follower: settings.Follower
    """Market (``spot`` asks for spot capacity first; see :mod:`components.aws.spot_fallback`) and reservation. Another
    market is another group: its machine is there before the old one ends."""

    root_volume_gib: int
    """Size of the root disk."""

    subnet_ids: Sequence[pulumi.Input[str]]
    """Private subnets of the zones the machine may be in. AWS moves a machine that is in none of them at once: it
    launches the new one first."""

    security_group_id: pulumi.Input[str]
    """The followers' group."""

    profile_arn: pulumi.Input[str]
    """Instance profile."""

    user_data: pulumi.Input[str]
    """Boot script, constant."""

    specification: pulumi.Resource
    """The node's specification. The first machine boots at once and asks for it, so it is stored before, and
    deleted after."""

    containers_use_role: bool
    """Whether a token of the metadata service reaches containers. For the next machine."""

    key: str | None
    """KMS key of the disk, or None for the account's default. For the next machine."""

    tags: dict[str, str]
    """The cluster's tags: a provider's default tags do not reach what a group launches."""


def follower_group(
    name: str, args: FollowerGroupArgs, parent: pulumi.Resource
) -> autoscaling.Group:
    """Make a launch template and an Auto Scaling group of one below *parent*; return the group.

    The group launches the instance, its disk and its interface. A function for the reason of
    :func:`components.aws.node_role.node_role`.
    """
    market, reservation = args.follower.market, args.follower.capacity_reservation
    block = market == "capacity-block"
    template = ec2.LaunchTemplate(
        f"{name}-template",
        # A group that launches into a capacity block takes type, market and block from its template alone.
        instance_type=args.instance_types[0] if block else None,
        instance_market_options=ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type=market)
        if block
        else None,
        capacity_reservation_specification=ec2.LaunchTemplateCapacityReservationSpecificationArgs(
            capacity_reservation_target=ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
                capacity_reservation_id=reservation
            )
        )
        if block
        else None,
        image_id=args.image.image_id,
        iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.profile_arn),
        user_data=pulumi.Output.from_input(args.user_data).apply(
            lambda script: base64.b64encode(script.encode()).decode()
        ),
        metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled",
            http_tokens="required",
            http_put_response_hop_limit=hop_limit(args.containers_use_role),
        ),
        network_interfaces=[
            ec2.LaunchTemplateNetworkInterfaceArgs(
                device_index=0,
                associate_public_ip_address="false",
                delete_on_termination="true",
                security_groups=[args.security_group_id],
            )
        ],
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=args.image.root_device,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_type="gp3",
                    volume_size=args.root_volume_gib,
                    encrypted="true",
                    kms_key_id=args.key,
                    delete_on_termination="true",
                ),
            )
        ],
        ebs_optimized="true",
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=True),
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(
                resource_type=resource_type, tags={**args.tags, **named(name)}
            )
            for resource_type in ("instance", "volume", "network-interface")
        ],
        update_default_version=True,
        tags=named(f"{name}-template"),
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=args.image.ignored("image_id")),
    )
    spot = market == "spot"
    return autoscaling.Group(
        f"{name}-group",
        min_size=1,
        max_size=1,
        desired_capacity=1,
        vpc_zone_identifiers=list(args.subnet_ids),
        launch_template=autoscaling.GroupLaunchTemplateArgs(id=template.id, version="$Default")
        if block
        else None,
        mixed_instances_policy=None if block else _policy(template, args),
        capacity_reservation_specification=_preference(reservation, block=block),
        # A warning of interruption starts the replacement before the machine is taken.
        capacity_rebalance=spot,
        health_check_type="EC2",
        health_check_grace_period=BOOT_GRACE_SECONDS,
        # Waiting is readiness's, which knows the reason; the provider would only count instances.
        wait_for_capacity_timeout="0",
        tags=[
            autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=False)
            for key, value in {**args.tags, **named(f"{name}-group")}.items()
        ],
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[args.specification],
            # The fallback has set it to 100; to set it back would have AWS replace the machine that runs. A group that
            # is made takes the program's.
            ignore_changes=[PERCENTAGE] if spot else None,
            replacement_trigger=market,
            custom_timeouts=pulumi.CustomTimeouts(delete=SLOW_END),
        ),
    )


def _preference(
    reservation: str | None, *, block: bool
) -> autoscaling.GroupCapacityReservationSpecificationArgs:
    """A reservation that is filled first; without one, none, not even an open one; a block is the template's.

    By AWS's default a follower would take the place that the leader has reserved for itself, which must be open
    (:class:`components.aws.leader_machine.LeaderMachine`), while the leader is stopped.
    """
    if reservation is None or block:
        # To say nothing would leave a group at the reservation that it had: the provider then takes what it has for
        # what is wanted.
        return autoscaling.GroupCapacityReservationSpecificationArgs(
            capacity_reservation_preference="default" if block else "none"
        )
    return autoscaling.GroupCapacityReservationSpecificationArgs(
        # Beyond it the machine may be an on-demand one of the same price.
        capacity_reservation_preference="capacity-reservations-first",
        capacity_reservation_target=autoscaling.GroupCapacityReservationSpecificationCapacityReservationTargetArgs(
            capacity_reservation_ids=[reservation]
        ),
    )


def _policy(
    template: ec2.LaunchTemplate, args: FollowerGroupArgs
) -> autoscaling.GroupMixedInstancesPolicyArgs:
    """Types in the order of preference, from one market."""
    return autoscaling.GroupMixedInstancesPolicyArgs(
        launch_template=autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
            launch_template_specification=autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                launch_template_id=template.id, version="$Default"
            ),
            overrides=[
                autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(
                    instance_type=instance_type
                )
                for instance_type in args.instance_types
            ],
        ),
        instances_distribution=autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
            on_demand_allocation_strategy="prioritized",
            on_demand_base_capacity=0,
            on_demand_percentage_above_base_capacity=0 if args.follower.market == "spot" else 100,
            spot_allocation_strategy="capacity-optimized-prioritized",
        ),
    )
