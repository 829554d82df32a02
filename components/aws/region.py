"""What the program must know of the account and region before it can decide anything.

Asked once per run, in a handful of calls whatever the number of followers, and only read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi_aws import ec2, ssm

from components.aws.leader_machine import MachineImage
from components.aws.look_ups import is_denied
from model.problems import Problem, SettingsError
from model.settings.image import MARKETPLACE_OWNER, Image, marketplace_name
from model.settings.sections import Release


@dataclass(frozen=True, kw_only=True)
class Region:
    """Facts about one AWS account in one region."""

    name: str
    """Region, ``us-east-1``."""

    account_id: str
    """Account, twelve digits."""

    partition: str
    """``aws``, ``aws-cn`` or ``aws-us-gov``."""

    availability_zones: tuple[str, ...]
    """Zones that are open to every account, sorted."""

    offerings: Mapping[str, frozenset[str]]
    """Instance type to the zones that offer it; a type that none offers has no key."""


def read_region(name: str, instance_types: Iterable[str], opts: pulumi.InvokeOptions) -> Region:
    """Look up the facts of region *name*, and the offerings of *instance_types* only."""
    zones = aws.get_availability_zones(
        state="available",
        # Local Zones and Wavelength Zones have neither EFS nor most GPU types.
        filters=[
            aws.GetAvailabilityZonesFilterArgs(
                name="opt-in-status", values=["opt-in-not-required"]
            ),
        ],
        opts=opts,
    )
    offered = ec2.get_instance_type_offerings(
        filters=[
            ec2.GetInstanceTypeOfferingsFilterArgs(
                name="instance-type", values=sorted(set(instance_types))
            )
        ],
        location_type="availability-zone",
        opts=opts,
    )
    offerings: dict[str, set[str]] = {}
    for instance_type, zone in zip(offered.instance_types, offered.locations, strict=True):
        offerings.setdefault(instance_type, set()).add(zone)
    return Region(
        name=name,
        account_id=aws.get_caller_identity(opts=opts).account_id,
        partition=aws.get_partition(opts=opts).partition,
        availability_zones=tuple(sorted(zones.names)),
        offerings={each: frozenset(found) for each, found in offerings.items()},
    )


def machine_image(
    image: Image, region: str, release: Release, opts: pulumi.InvokeOptions
) -> MachineImage:
    """The image that the stack file names for *region*, or the newest one of where it says to look.

    Raises :class:`SettingsError` when AWS does not show the image to this account in this region.
    """
    pinned = image.pinned(region)
    if pinned is None and image.marketplace:
        return _marketplace_image(release, opts)
    # `value` is always secret in Pulumi, and a secret image id makes every plan unreadable.
    image_id = pinned or ssm.get_parameter(name=image.ssm_parameter, opts=opts).insecure_value
    found = _image(
        "image",
        f"{image_id}, which AWS does not show",
        allowed="an image of this region that is shared with this account",
        hint="`./cluster image-refresh` locks another; `aws ec2 describe-images --image-ids` shows whether it is there",
        filters=[ec2.GetAmiFilterArgs(name="image-id", values=[image_id])],
        # Its publisher takes an old image off the list, and machines of it go on.
        include_deprecated=True,
        opts=opts,
    )
    return MachineImage(
        image_id=image_id, root_device=found.root_device_name, pinned=pinned is not None
    )


def _marketplace_image(release: Release, opts: pulumi.InvokeOptions) -> MachineImage:
    name = marketplace_name(release)
    found = _image(
        "image.marketplace",
        f"no image named {name}",
        allowed="a release that Graphistry sells in the AWS Marketplace, to which this account has subscribed",
        hint="leave marketplace out for the Deep Learning AMI",
        owners=[MARKETPLACE_OWNER],
        filters=[ec2.GetAmiFilterArgs(name="name", values=[name])],
        most_recent=True,
        opts=opts,
    )
    return MachineImage(image_id=found.id, root_device=found.root_device_name, pinned=False)


def _image(
    path: str, got: str, *, allowed: str, hint: str, **query: Any
) -> ec2.AwaitableGetAmiResult:
    """What AWS shows for *query*; where it shows nothing, raises :class:`SettingsError` with the other words."""
    try:
        return ec2.get_ami(**query)
    except Exception as error:  # Pulumi raises nothing narrower for a look-up that finds nothing.
        if is_denied(error):
            raise
        problem = Problem(path=path, got=f"{got}: {error}", allowed=allowed, hint=hint)
        raise SettingsError((problem,)) from None
