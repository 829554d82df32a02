"""Machine images as AWS shows them: which one a stack file means, and what is known of it before a machine boots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from model.problems import Problem
from model.settings.image import MARKETPLACE_OWNER, REHEARSED, Image, LockedImage, marketplace_name
from model.settings.sections import Release

_DRIVER = re.compile(r"\bdriver(?: version)?:? v?([0-9]{3}(?:\.[0-9]+){1,2})", re.IGNORECASE)
_CUDA = re.compile(r"\bCUDA(?: version)?:?[ -]v?([0-9]+\.[0-9]+)", re.IGNORECASE)
_MARKETPLACE = re.compile(r"graphistry-standalone-.*-v[0-9.]+-([0-9]+\.[0-9]+)")
_NOTES = re.compile(r"Release notes: (https://\S+)")
_GONE = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed")
_NOT_SHARED = ("AuthFailure",)


class NoImageError(Exception):
    """AWS has no image of where the stack file says to look; `problem` says it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What AWS says of one image."""

    id: str
    name: str
    date: str
    """Day it was made, ``2026-07-17``."""
    state: str
    """``available``, or why no machine can be made of it."""
    architecture: str
    driver: str | None
    """NVIDIA driver, where its publisher says so in tags or description; the Deep Learning AMI's does not."""
    cuda: str | None
    deprecated: str
    """Day from which its publisher advises against it, empty without one. Machines can still be made of it."""
    notes: str
    """Where its publisher tells what is in it; may be empty."""
    sold: bool = False
    """Whether it is one of the AWS Marketplace or a copy of such a one, for which AWS wants a subscription."""
    stand_in: bool = False
    """Whether it is the sandbox's, which shows one under any id that a stack file names."""

    def is_deprecated(self, today: datetime) -> bool:
        """Whether that day has come."""
        return bool(self.deprecated) and self.deprecated <= f"{today:%Y-%m-%d}"

    def locked(self) -> LockedImage:
        """What a stack file keeps of it."""
        return LockedImage(
            id=self.id, name=self.name, driver=self.driver, cuda=self.cuda, date=self.date or None
        )


def facts(ec2: Any, identifier: str) -> ImageFacts | None:
    """What AWS shows this account of an image; None when it is gone or not shared. Other errors pass through."""
    try:
        found = ec2.describe_images(ImageIds=[identifier], IncludeDeprecated=True)["Images"]
    except ClientError as error:
        if error.response["Error"]["Code"] in (*_GONE, *_NOT_SHARED):
            return None
        raise
    return _facts(found[0]) if found else None


def newest(ec2: Any, ssm: Any, image: Image, release: Release | None) -> str:
    """Id of the newest image of where the stack file says to look. Raises :class:`NoImageError`."""
    if not image.marketplace:
        return _parameter(ssm, image.ssm_parameter)
    if release is None:
        raise NoImageError(
            Problem(
                "image.marketplace",
                "followers of another stack, whose release is not here",
                "the image that the leader's stack has locked",
                "./cluster image-refresh STACK --image ami-..., with the id from there",
            )
        )
    name = marketplace_name(release)
    found = ec2.describe_images(
        Owners=[MARKETPLACE_OWNER], Filters=[{"Name": "name", "Values": [name]}]
    )["Images"]
    if not found:
        raise NoImageError(
            Problem(
                "image.marketplace",
                f"no image named {name}",
                "a release that Graphistry sells in the AWS Marketplace",
                "leave marketplace out for the Deep Learning AMI",
            )
        )
    return str(max(found, key=lambda each: str(each["CreationDate"]))["ImageId"])


def _parameter(ssm: Any, name: str) -> str:
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
    raise NoImageError(
        Problem(
            "image.ssmParameter",
            f'"{name}", which does not exist in this region',
            "the full name of a public SSM parameter that holds an image id",
            "leave it out for the Deep Learning AMI on Ubuntu 24.04",
        )
    )


def _facts(image: dict[str, Any]) -> ImageFacts:
    tags = {tag["Key"].lower(): tag["Value"] for tag in image.get("Tags", [])}
    name, description = image.get("Name", ""), image.get("Description", "")
    notes = _NOTES.search(description)
    return ImageFacts(
        id=image["ImageId"],
        name=name,
        date=_day(image.get("CreationDate")),
        state=image.get("State", "available"),
        architecture=image.get("Architecture", "x86_64"),
        driver=tags.get("driver") or _first(_DRIVER, name, description),
        cuda=tags.get("cuda") or _first(_MARKETPLACE, name) or _first(_CUDA, name, description),
        deprecated=_day(image.get("DeprecationTime")),
        notes=notes[1].rstrip(".") if notes else "",
        sold=any(
            each.get("ProductCodeType") == "marketplace" for each in image.get("ProductCodes", [])
        ),
        stand_in=description == REHEARSED,
    )


def _first(words: re.Pattern[str], *texts: str) -> str | None:
    found = next((match for match in map(words.search, texts) if match), None)
    return found[1] if found else None


def _day(moment: Any) -> str:
    """The day in AWS's spelling of a moment; botocore has made a time of some."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%Y-%m-%d}"
    return str(moment or "")[:10]
