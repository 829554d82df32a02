"""Sections of a stack file that are the same on every site: names, worker counts, the release."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from model.settings import checks
from model.settings.fields import StandIn, Words

Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$"),
    Words(
        "a name of at most 30 lower-case letters, digits and hyphens that starts with a letter and "
        "does not end in a hyphen"
    ),
]
LeaderStack = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$"),
    Words(
        'the full name of a stack such as "organization/graphistry-cluster/prod" (`pulumi stack ls`; '
        'with a state in files or a bucket the first part is "organization")'
    ),
    StandIn("organization/graphistry-cluster/prod"),
]
ProfileName = Annotated[str, Words("the name of a profile under gpuProfiles"), StandIn("")]
WorkerCount = Annotated[int, Field(ge=1, le=16)]


class Section(BaseModel):
    """A map in the stack file: strict, closed, immutable; its keys in camel case."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


class WorkersPerGpu(Section):
    """Workers that each Graphistry service starts per GPU, for profiles that know better."""

    forge: WorkerCount | None = None
    """Upload and parsing workers per GPU, 1 to 16. Absent: computed from the memory of GPU and
    host. A change restarts that service on the nodes of the profile; no machine is touched."""
    streamgl: WorkerCount | None = None
    """Layout workers per GPU, 1 to 16. Absent: computed. A change restarts that service in
    place."""
    dask: WorkerCount | None = None
    """Dask workers per GPU, 1 to 16. Absent: 1, as the vendor's wizard sets it. A change restarts
    that service in place."""


class Release(Section):
    """One Graphistry version and where its tarball comes from."""

    version: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$"),
        Words('three numbers in quotes such as "2.50.1"'),
        StandIn("2.50.1"),
    ]
    """Version as "2.50.1". Required in a release. A change upgrades the nodes in place, leader
    first."""
    cuda: Annotated[Literal["12", "13"], StandIn("12")]
    """CUDA flavour of the images. "12" runs on every GPU of the catalogue, "13" needs Turing or
    newer. Required in a release. A change reinstalls in place."""
    source: Annotated[
        str,
        AfterValidator(checks.release_source),
        Words('"preinstalled", "s3://bucket/key", "https://host/path" or "file:/absolute/path"'),
    ] = "preinstalled"
    """Where nodes get the tarball; "preinstalled" when the machine has it. "s3:" on AWS only.
    "file:" on hosts only: from the operator's computer over SSH, so hosts need no internet. A
    change is picked up by the next installation."""
    sha256: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[0-9a-f]{64}$"),
            Words("the tarball's SHA-256 as 64 lower-case hex digits"),
        ]
        | None
    ) = None
    """Checksum of the tarball; required unless preinstalled. Follows `source`."""
