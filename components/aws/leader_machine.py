"""The leader's machine on AWS: one instance whose address and data outlive it."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import ebs, ec2

from components.aws.data_backups import data_backups, target
from components.aws.protection import kept
from model.settings import aws as settings
from model.tags import named

SLOW_END = "60m"
"""How long the end or the stop of a machine may take: GPU machines write their memory and reset their GPUs, bare metal
longer than the provider's 10 to 20 minutes. A longer wait costs nothing when AWS is quicker."""


def hop_limit(containers_use_role: bool) -> int:
    """How far a token of the metadata service travels; a container is one hop behind its machine."""
    return 2 if containers_use_role else 1


@dataclass(frozen=True, kw_only=True)
class MachineImage:
    """The machine image of a node."""

    image_id: str
    """Id, ``ami-...``."""

    root_device: str
    """Name of the root disk, ``/dev/sda1`` on Ubuntu and ``/dev/xvda`` on Amazon Linux."""

    pinned: bool
    """Whether the stack file names it. An image that was looked up never replaces a machine."""

    def ignored(self, attribute: str) -> list[str]:
        """What ``ignore_changes`` must hold for a resource that takes the image as *attribute*."""
        return [] if self.pinned else [attribute]


@dataclass(frozen=True, kw_only=True)
class LeaderMachineArgs:
    """Inputs of :class:`LeaderMachine`."""

    instance_type: str
    """EC2 instance type. A change stops and starts the machine; address and data stay."""

    image: MachineImage
    """A change of a pinned image replaces the machine; address and data stay."""

    root_volume_gib: int
    """Size of the root disk. Grows in place."""

    leader: settings.Leader
    """Data volume, whose size, IOPS, throughput and backups change in place (AWS shrinks no volume), and the
    reservation of capacity: of its own, whose new type is reserved before the machine stops for it, or an existing one,
    which the machine stops and starts to get into and out of."""

    availability_zone: str
    """Zone of machine and data volume."""

    subnet_id: pulumi.Input[str]
    """Private subnet in that zone."""

    security_group_id: pulumi.Input[str]
    """The leader's group. In place."""

    profile_name: pulumi.Input[str]
    """Instance profile. In place."""

    user_data: pulumi.Input[str]
    """Boot script, constant. A change stops and starts the machine."""

    containers_use_role: bool
    """Whether a token of the metadata service reaches containers. In place."""

    tags: dict[str, str]
    """The cluster's tags, for the root disk. In place."""

    key: str | None
    """KMS key of both disks, or None for the account's default. A change replaces them, which the protection of the
    data volume refuses."""

    delete_data: bool
    """Lifts the protection of the data volume."""


class LeaderMachine(pulumi.ComponentResource):
    """An instance with a fixed network interface and a data volume of its own.

    Creates: network interface, data volume and its snapshot policy (kept), capacity reservation (unless told not to),
    instance, volume attachment. A zone that was chosen for the user is chosen once: data volumes do not move.
    """

    address: pulumi.Output[str]
    """Private IPv4 address; that of the interface, so it stays when the machine is replaced."""

    instance_id: pulumi.Output[str]
    """Id of the instance."""

    attached_instance_id: pulumi.Output[str]
    """Id of the instance, known once it has its data volume."""

    data_volume_id: pulumi.Output[str]
    """Id of the data volume."""

    def __init__(
        self,
        name: str,
        args: LeaderMachineArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("graphistry-cluster:index:LeaderMachine", name, {}, opts)
        zone_pinned = args.leader.availability_zone is not None
        interface = ec2.NetworkInterface(
            f"{name}-interface",
            description="Fixed address of the leader of a Graphistry cluster",
            subnet_id=args.subnet_id,
            security_groups=[args.security_group_id],
            tags=named(f"{name}-interface"),
            opts=pulumi.ResourceOptions(
                parent=self, ignore_changes=[] if zone_pinned else ["subnet_id"]
            ),
        )
        data_volume = args.leader.data_volume
        keep = kept(self, delete_data=args.delete_data)
        volume = ebs.Volume(
            f"{name}-data",
            availability_zone=args.availability_zone,
            type="gp3",
            size=data_volume.size_gib,
            iops=data_volume.iops,
            throughput=data_volume.throughput_mibps,
            encrypted=True,
            kms_key_id=args.key,
            snapshot_id=data_volume.snapshot_id,
            final_snapshot=True,
            tags={**named(f"{name}-data"), **target(args.tags)},
            opts=pulumi.ResourceOptions.merge(
                keep,
                pulumi.ResourceOptions(
                    ignore_changes=[
                        *([] if zone_pinned else ["availability_zone"]),
                        # What it began with is history, once the stack file says so no more.
                        *([] if data_volume.snapshot_id else ["snapshot_id"]),
                    ],
                    # The deletion waits for the last snapshot, which copies the whole volume if it is the first.
                    custom_timeouts=pulumi.CustomTimeouts(delete="4h"),
                ),
            ),
        )
        data_backups(f"{name}-backups", data_volume.backups, args.tags, volume, keep)
        reservation = args.leader.capacity_reservation
        reserved = (
            [self._reservation(name, args)]
            if args.leader.reserve_capacity and reservation is None
            else []
        )
        instance = ec2.Instance(
            name,
            ami=args.image.image_id,
            instance_type=args.instance_type,
            iam_instance_profile=args.profile_name,
            primary_network_interface=ec2.InstancePrimaryNetworkInterfaceArgs(
                network_interface_id=interface.id
            ),
            user_data=args.user_data,
            user_data_replace_on_change=False,
            metadata_options=ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                http_put_response_hop_limit=hop_limit(args.containers_use_role),
            ),
            root_block_device=ec2.InstanceRootBlockDeviceArgs(
                volume_type="gp3",
                volume_size=args.root_volume_gib,
                encrypted=True,
                kms_key_id=args.key,
                delete_on_termination=True,
                # The provider's default tags reach this disk when it is made, and a changed one is removed from it
                # and not put back (terraform-provider-aws#38301); what the block names stays.
                tags={**args.tags, **named(f"{name}-root")},
            ),
            ebs_optimized=True,
            monitoring=True,
            capacity_reservation_specification=_in_reservation(reservation),
            tags=named(name),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=reserved,
                ignore_changes=args.image.ignored("ami"),
                # The fixed interface can be on one machine at a time.
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(
                    create="30m", update=SLOW_END, delete=SLOW_END
                ),
            ),
        )
        attachment = ec2.VolumeAttachment(
            f"{name}-data",
            device_name="/dev/sdf",
            instance_id=instance.id,
            volume_id=volume.id,
            # A database that is still writing must not lose its disk.
            stop_instance_before_detaching=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                # The volume can be on one machine at a time.
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create="30m", delete="30m"),
            ),
        )
        self.address = interface.private_ip
        self.instance_id = instance.id
        self.attached_instance_id = attachment.instance_id
        self.data_volume_id = volume.id
        self.register_outputs({"instance_id": self.instance_id, "address": self.address})

    def _reservation(self, name: str, args: LeaderMachineArgs) -> ec2.CapacityReservation:
        """The place of the machine. AWS refuses it at once where it has none, and a start of the machine in an hour.

        It is open, so the machine is in it by matching, and its replacement by another type is made before the machine
        stops; a targeted one would be full until the old machine is gone.
        """
        return ec2.CapacityReservation(
            f"{name}-capacity",
            instance_type=args.instance_type,
            instance_platform="Linux/UNIX",
            availability_zone=args.availability_zone,
            instance_count=1,
            instance_match_criteria="open",
            ebs_optimized=True,
            tags=named(f"{name}-capacity"),
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=[]
                if args.leader.availability_zone is not None
                else ["availability_zone"],
            ),
        )


def _in_reservation(
    reservation: str | None,
) -> ec2.InstanceCapacityReservationSpecificationArgs:
    """The reservation of that id; without one any that is open and fits."""
    if reservation is None:
        # AWS's default. To say nothing would leave a machine in the reservation that it was in: the provider then
        # takes what it has for what is wanted.
        return ec2.InstanceCapacityReservationSpecificationArgs(
            capacity_reservation_preference="open"
        )
    return ec2.InstanceCapacityReservationSpecificationArgs(
        capacity_reservation_target=ec2.InstanceCapacityReservationSpecificationCapacityReservationTargetArgs(
            capacity_reservation_id=reservation
        )
    )
