"""The check ``image``: whether machines can be made of the image, and whether its driver runs the release."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from agent.supported import driver_verdict
from model.problems import Problem
from model.settings.image import Image
from preflight.machine_images import ImageFacts, NoImageError, facts, newest
from preflight.situation import Finding, Remark, Situation, UnansweredError
from preflight.subscription import subscription

RIGHTS = "ec2:DescribeImages and ssm:GetParameter"


def image(situation: Situation) -> tuple[Finding, ...]:
    """Problems of the image of new machines: gone, not shared, of another processor, with a driver that is too old, or
    sold without a subscription.

    Two calls of AWS at most, and a third for an image of the Marketplace. It remarks that one is deprecated, as
    machines of it can still be made, that nobody says which driver is in it, and that it is a stand-in. Raises
    :class:`UnansweredError` when AWS does not answer.
    """
    wanted, region = situation.settings.image, situation.region
    refresh = situation.command("image-refresh")
    release = situation.release
    if release is None and wanted.marketplace and wanted.pinned(region) is None:
        raise UnansweredError(
            "which image of the Marketplace it is depends on the release, and that is in the leader's stack; lock the "
            f"image that it has: `{refresh} --image ami-...`"
        )
    ec2 = situation.client("ec2")
    try:
        identifier = wanted.pinned(region) or newest(ec2, situation.client("ssm"), wanted, release)
        found = facts(ec2, identifier)
    except NoImageError as error:
        return (error.problem,)
    except (ClientError, BotoCoreError) as error:
        raise UnansweredError(
            f"AWS did not show the image ({RIGHTS} are needed): {error}"
        ) from None
    path = _path(wanted, region)
    if found is None:
        return (_gone(path, identifier, refresh),)
    locked = wanted.lock.get(region)
    driver = (locked.driver if locked else None) or found.driver
    problems = list(_unusable(path, found, refresh))
    if release is not None and driver is not None:
        fits, verdict = driver_verdict(driver, release.cuda)
        if not fits:
            problems.append(_driver_too_old(path, found, verdict, release.cuda, refresh))
    remarks = _remarks(found, refresh, named=wanted.pinned(region) is not None)
    if release is not None and driver is None and not found.stand_in:
        remarks.append(
            f"nobody says which NVIDIA driver is in it, so nodes look; `{refresh} --driver …` notes it"
        )
    if (
        path == "image.ssmParameter"
        and "ubuntu" in wanted.ssm_parameter
        and not found.stand_in
        and not wanted.mount_helper
    ):
        remarks.append(
            "Ubuntu's images have no mount helper of EFS: AWS's installer runs as root on each node, unverified. "
            "image.mountHelper names a package by its checksum (docs/how-to/change-a-cluster.md)"
        )
    sold = subscription(situation, path, identifier) if found.sold else ()
    return (*problems, *sold, *map(Remark, remarks))


def _path(wanted: Image, region: str) -> str:
    """The key that names the image."""
    if wanted.id is not None:
        return "image.id"
    if region in wanted.lock:
        return f"image.lock.{region}.id"
    return "image.marketplace" if wanted.marketplace else "image.ssmParameter"


def _gone(path: str, identifier: str, refresh: str) -> Problem:
    return Problem(
        path,
        f"{identifier}, which is gone, in another region, or not shared with this account",
        "an image that AWS shows to this account in this region",
        f"`{refresh}` locks the newest and says which machines that replaces; machines that run are not touched",
    )


def _unusable(path: str, found: ImageFacts, refresh: str) -> Iterator[Problem]:
    if found.state != "available":
        yield Problem(
            path,
            f"{found.id}, which is {found.state}",
            "an available image",
            f"`{refresh}` locks another",
        )
    if found.architecture != "x86_64":
        yield Problem(
            path,
            f"{found.id}, which is for {found.architecture}",
            "an image for x86_64, as Graphistry publishes no other",
            f"`{refresh}` locks another",
        )


def _driver_too_old(path: str, found: ImageFacts, verdict: str, cuda: str, refresh: str) -> Problem:
    hint = f"`{refresh}` shows a newer image"
    if cuda == "13":
        hint += '; or set release.cuda to "12", which runs with older drivers'
    return Problem(
        path, f"{found.id}: {verdict}", f"an image whose driver runs CUDA flavour {cuda}", hint
    )


def _remarks(found: ImageFacts, refresh: str, *, named: bool) -> list[str]:
    """What a person should know of an image that the stack file has *named*, or that was looked up."""
    told = []
    if found.stand_in and named:
        told.append(f"a stand-in; whether {found.id} exists is not looked at in a rehearsal")
    elif found.stand_in:
        told.append(
            "a stand-in, as every image of the sandbox; `./cluster image-refresh` is for an account"
        )
    if found.is_deprecated(datetime.now(UTC)):
        told.append(
            f"{found.id} is deprecated since {found.deprecated}: it works until its publisher removes it; "
            f"`{refresh}` shows the newest"
        )
    return told
