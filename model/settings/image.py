"""The machine image of a cluster on AWS: where new ones come from, and which one is locked per region."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from model.settings.fields import StandIn, Words
from model.settings.sections import Release, Section

MARKETPLACE_OWNER = "679593333241"
"""Account of the AWS Marketplace, which owns the images that it sells (graph-app-kit, graphistry-ami-list)."""
MARKETPLACE_PAGE = "https://aws.amazon.com/marketplace/pp/B07Q88KH8C"
"""Where the AWS Marketplace shows what Graphistry's image costs, and where an account subscribes to it."""

REHEARSED = "has no contents: made by the sandbox"
"""Description by which the sandbox's stand-in is told from an image of a real account."""

ImageId = Annotated[
    str,
    StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$"),
    Words('the id of an image such as "ami-0123456789abcdef0"'),
    StandIn("ami-00000000"),
]
PUBLIC_PARAMETERS = "/aws/service/"
"""Where AWS and its partners publish the ids of images; none of those has Graphistry."""

Region = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$"),
    Words('an AWS region such as "us-east-1"'),
]
Version = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){1,3}$"),
    Words('a version in quotes such as "590.48.01"'),
]


class LockedImage(Section):
    """One image, and what was known of it when it was locked; `./cluster image-refresh` writes it."""

    id: ImageId
    """The image. Required. Another one replaces the leader's machine, address and data kept, and
    holds for the next machine of a follower."""
    name: Annotated[str, StringConstraints(max_length=256), Words("the image's name")] = ""
    """Name of the image, for people. A change touches nothing."""
    driver: Version | None = None
    """NVIDIA driver in the image, as its publisher or a running node says. Absent: not known, and
    looked at on the machine only. Compared with the release before boot. A change touches nothing."""
    cuda: Version | None = None
    """CUDA toolkit in the image, for people: the release brings its own. A change touches nothing."""
    date: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
            Words('a day in quotes such as "2026-07-17"'),
        ]
        | None
    ) = None
    """Day the image was made, for people. A change touches nothing."""


class MountHelper(Section):
    """The package of EFS's mount helper, amazon-efs-utils, by its address and checksum."""

    source: Annotated[
        str,
        StringConstraints(
            pattern=r"^(s3://[a-z0-9.-]{3,63}|https://[A-Za-z0-9.-]+)/[^\s?@]*\.(deb|rpm)$"
        ),
        Words(
            '"s3://bucket/key" or "https://host/path" that ends in .deb or .rpm, without a signature'
        ),
        StandIn("s3://bucket/amazon-efs-utils.deb"),
    ]
    """Where nodes whose image has no mount helper get it. Required. A change touches no node that has one."""
    sha256: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9a-f]{64}$"),
        Words("the package's SHA-256 as 64 lower-case hex digits"),
        StandIn("0" * 64),
    ]
    """Checksum of the package: nothing else is installed. Required. Follows `source`."""


class Image(Section):
    """The machine image (AMI) of new machines. A newer one never replaces a running machine."""

    id: ImageId | None = None
    """An image of your own, in place of one that is looked up. Another one replaces the leader's
    machine, address and data kept, and holds for the next machine of a follower."""
    ssm_parameter: Annotated[
        str,
        StringConstraints(pattern=r"^/[A-Za-z0-9_./-]{1,1010}$"),
        Words("the full name of a public SSM parameter that holds an image id"),
    ] = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    """SSM parameter that names the newest image. The default has driver, Docker and NVIDIA's
    container toolkit on the OS that Graphistry recommends; the same on Ubuntu 22.04 works as well. A
    change applies to machines created later, and with a lock when `./cluster image-refresh` renews that:
    it touches no machine."""
    marketplace: bool = False
    """Take Graphistry's image of the AWS Marketplace for the release's version and CUDA flavour
    instead. The account must have subscribed to it. A change is like one of `ssmParameter`: for machines
    created later."""
    release: (
        Annotated[
            Literal["preinstalled"],
            Words('"preinstalled", for an image of your own with Graphistry in it'),
        ]
        | None
    ) = None
    """Says that an image of your own (`id`, `lock`, or a parameter of yours) has the release unpacked in
    /home/ubuntu/graphistry, /var/graphistry or /opt/graphistry, as Graphistry's Marketplace image has. Absent: it has
    none, and `release.source` must name an archive. Read before anything starts; a change touches no machine."""
    mount_helper: MountHelper | None = None
    """Package of amazon-efs-utils for an image without it, as Ubuntu's are. Absent: Amazon Linux has a signed package,
    and on Ubuntu AWS's installer runs, of which no checksum is published. A change touches no node that has a mount
    helper."""
    lock: Annotated[dict[Region, LockedImage], Words("a map from region to locked image")] = {}  # noqa: RUF012 pydantic copies it
    """The image by region, written by `./cluster image-refresh`, which shows what a newer one would do.
    A region without: what is looked up when a machine is first created. A new lock replaces the
    leader's machine if that runs another image, address and data kept, and holds for the next
    machine of a follower."""

    def pinned(self, region: str) -> str | None:
        """Id of the image that the stack file names for a region; None where it is looked up."""
        locked = self.lock.get(region)
        return self.id or (locked.id if locked else None)

    def has_release(self, region: str) -> bool:
        """Whether machines of the image begin with a release: Graphistry's own do, and yours where the file says so."""
        looked_up = self.pinned(region) is None and self.ssm_parameter.startswith(PUBLIC_PARAMETERS)
        return self.marketplace or (self.release is not None and not looked_up)


def marketplace_name(release: Release) -> str:
    """Pattern of the names of Graphistry's Marketplace images of a release."""
    return f"*graphistry-standalone-2???-??-??T??-??-??Z-v{release.version}-{release.cuda}*"
