"""Locks a machine image for a stack: shows old and new and which nodes another one would replace, then writes it down.

Nothing else ever moves a machine to another image. A newer one that AWS publishes is told here, when somebody asks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from agent.supported import driver_verdict
from model.changed_keys import LEADER
from model.problems import UserError
from model.settings.aws import FollowersOnAws, Settings
from model.settings.image import LockedImage
from model.tags import CLUSTER_TAG
from operate.commands.options import Stack, Where, Yes
from operate.commands.screen import print_table
from operate.nodes.on_aws import entries
from operate.nodes.reports import read_reports
from operate.stack.deployment import Deployment
from operate.stack.image_lock import stack_file_to_lock, write_lock
from operate.stack.session import checked, deployment
from operate.terminal.messages import say
from operate.terminal.words import NEWEST, RUNNING, cuda_version, driver_version
from preflight.machine_images import ImageFacts, NoImageError, facts, newest
from preflight.tables import plain_table

UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A machine of the cluster and the image that it booted from."""

    node: str
    instance_id: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An image to lock, and what is there now."""

    region: str
    old: ImageFacts | None
    """The image that is locked, else the one that the leader runs, else that of any other node."""
    new: ImageFacts
    running: tuple[Running, ...]
    cuda: str | None
    """CUDA flavour of the release; None where another stack has it."""
    locked: LockedImage | None

    @property
    def lock(self) -> LockedImage:
        """What is written."""
        return self.new.locked()


def offer(deployment: Deployment, wanted: str, driver: str, cuda: str) -> Offer:
    """The image to lock: *wanted* is an id, "newest" or "running"; *driver* and *cuda* are what its notes say.

    Raises :class:`UserError`.
    """
    settings = deployment.settings
    if not isinstance(settings, FollowersOnAws):
        raise UserError("hosts have no machine image: their system is yours")
    if settings.image.id is not None:
        raise UserError(
            f"image.id is {settings.image.id}, an image of your own, which stays until you change it. "
            "To lock one that is looked up, take image.id out"
        )
    release = settings.release if isinstance(settings, Settings) else None
    ec2, ssm = deployment.client("ec2"), deployment.client("ssm")
    running = tuple(_running(deployment, ec2))
    locked = settings.image.lock.get(deployment.region)
    old = _old(ec2, locked, running)
    try:
        identifier = (
            newest(ec2, ssm, settings.image, release)
            if wanted == NEWEST
            else _of_running(running)
            if wanted == RUNNING
            else _checked(wanted)
        )
    except NoImageError as error:
        raise UserError(str(error)) from None
    new = facts(ec2, identifier)
    if new is None:
        raise UserError(
            f"IMAGE: got {identifier}, which AWS does not show: it is gone, in another region than "
            f"{deployment.region}, or not shared with this account. Nothing was written"
        )
    known = partial(_known, locked, _drivers(deployment, running))
    new = known(new)
    return Offer(
        region=deployment.region,
        old=known(old) if old else None,
        new=replace(new, driver=driver or new.driver, cuda=cuda or new.cuda),
        running=running,
        cuda=release.cuda if release else None,
        locked=locked,
    )


def image_table(offered: Offer) -> Table:
    """Old and new image side by side, what differs in colour."""
    table = plain_table("", "now", "new")
    old, new = offered.old, offered.new
    for title, attribute in (
        ("image", "id"),
        ("name", "name"),
        ("made on", "date"),
        ("NVIDIA driver", "driver"),
        ("CUDA toolkit", "cuda"),
        ("deprecated from", "deprecated"),
    ):
        empty = "-" if attribute in ("deprecated", "name") else UNKNOWN
        before = (getattr(old, attribute) or empty) if old else "none"
        after = getattr(new, attribute) or empty
        colour = "[yellow]" if before != after else "[green]"
        table.add_row(title, escape(before), f"{colour}{escape(after)}[/]")
    return table


def effect_table(offered: Offer) -> Table:
    """What the lock does to each machine that runs."""
    table = plain_table(
        "node",
        "machine",
        "its image",
        "at the next `./cluster up`",
        prose=("at the next `./cluster up`",),
    )
    for each in offered.running:
        if each.image == offered.new.id:
            effect = "[green]nothing: it runs that image[/]"
        elif each.node == LEADER:
            effect = "[yellow]replaced; address and data stay[/]"
        else:
            effect = "[green]stays; its next machine has the new image[/]"
        table.add_row(escape(each.node), each.instance_id, each.image, effect)
    return table


def notes(offered: Offer) -> Iterator[str]:
    """What a person should know before saying yes."""
    new, today = offered.new, datetime.now(UTC)
    if offered.old and offered.old.is_deprecated(today):
        yield f"{offered.old.id} is deprecated since {offered.old.deprecated}"
    if new.is_deprecated(today):
        yield f"{new.id} is deprecated since {new.deprecated}: machines of it start until its publisher removes it"
    if new.driver is None:
        where = f" ({new.notes})" if new.notes else ""
        yield (
            f"AWS does not say which driver is in {new.id}; its release notes do{where}. With `--driver` and "
            "`--cuda` it is compared with the release before anything boots"
        )
    elif offered.cuda is not None:
        yield driver_verdict(new.driver, offered.cuda)[1]


def refuse_unusable(offered: Offer) -> None:
    """Raise :class:`UserError` for an image of which no node of the release can be made."""
    new = offered.new
    if new.state != "available" or new.architecture != "x86_64":
        raise UserError(
            f"{new.id} is {new.state} and for {new.architecture}; allowed is one that is available, for x86_64. "
            "Nothing was written"
        )
    if new.driver is None or offered.cuda is None:
        return
    fits, verdict = driver_verdict(new.driver, offered.cuda)
    if not fits:
        raise UserError(f"{new.id} cannot run the release: {verdict}. Nothing was written")


def _running(deployment: Deployment, ec2: Any) -> Iterator[Running]:
    outputs = deployment.outputs() if deployment.exists() else {}
    if "followers" not in outputs:
        return
    pages = ec2.get_paginator("describe_instances")
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [deployment.cluster]}
    alive = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    found = {}
    for page in pages.paginate(Filters=[ours, alive]):
        for reservation in page["Reservations"]:
            for each in reservation["Instances"]:
                name = {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}.get("Name", "")
                node = name.removeprefix(f"graphistry-{deployment.stack}-")
                found[node] = Running(
                    node=node, instance_id=each["InstanceId"], image=each["ImageId"]
                )
    yield from (found[node] for node in entries(outputs) if node in found)


def _old(ec2: Any, locked: LockedImage | None, running: tuple[Running, ...]) -> ImageFacts | None:
    identifier = locked.id if locked else running[0].image if running else None
    if identifier is None:
        return None
    gone = ImageFacts(
        id=identifier,
        name=locked.name if locked else "",
        date=(locked.date if locked else None) or "",
        state="gone",
        architecture="",
        driver=locked.driver if locked else None,
        cuda=locked.cuda if locked else None,
        deprecated="gone, or not shared any more",
        notes="",
    )
    return facts(ec2, identifier) or gone


def _of_running(running: tuple[Running, ...]) -> str:
    if not running:
        raise UserError(
            "IMAGE: got running, and no machine of this stack runs; allowed: newest, or an id"
        )
    return running[0].image


def _checked(wanted: str) -> str:
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", wanted):
        raise UserError(
            f"IMAGE: got {wanted!r}; allowed: newest, running, or the id of an image such as ami-0123456789abcdef0"
        )
    return wanted


def _known(locked: LockedImage | None, drivers: Mapping[str, str], found: ImageFacts) -> ImageFacts:
    """An image with what nodes that run it have reported, and what is in the stack file, where AWS says nothing."""
    noted = locked if locked and locked.id == found.id else None
    return replace(
        found,
        driver=found.driver or drivers.get(found.id) or (noted.driver if noted else None),
        cuda=found.cuda or (noted.cuda if noted else None),
    )


def _drivers(deployment: Deployment, running: tuple[Running, ...]) -> dict[str, str]:
    """Image to the driver that a node which runs it has reported."""
    bucket = deployment.outputs().get("bucket") if running else None
    if not bucket:
        return {}
    reports = read_reports(deployment.client("s3"), bucket, [each.node for each in running])
    found = {}
    for each in running:
        read = reports.get(each.node)
        if read and read.report.is_of(each.instance_id) and read.report.versions.driver:
            found[each.image] = read.report.versions.driver
    return found


def image_refresh(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    image: Annotated[
        str,
        typer.Option(
            help="newest, running (what the leader runs now), or an image id such as ami-0123456789abcdef0."
        ),
    ] = NEWEST,
    driver: Annotated[
        str,
        typer.Option(
            help="NVIDIA driver of the image, from its release notes.",
            callback=checked(driver_version),
        ),
    ] = "",
    cuda: Annotated[
        str,
        typer.Option(
            help="CUDA toolkit of the image, from its release notes.",
            callback=checked(cuda_version),
        ),
    ] = "",
) -> None:
    """Show what a newer machine image would do to the nodes, and lock it in the stack file."""
    with deployment(stack, target, changes=False) as opened:
        offered = offer(opened, image, driver, cuda)
        stack_file = stack_file_to_lock(opened)
        print_table(image_table(offered))
        if offered.running:
            print_table(effect_table(offered))
        for note in notes(offered):
            say(note)
        refuse_unusable(offered)
        if offered.lock == offered.locked:
            say("that image is locked already")
            return
        if not yes and not (sys.stdin.isatty() and typer.confirm("Lock it?")):
            raise UserError("nothing was written; a yes, or `--yes`, locks the image")
        write_lock(stack_file, opened.region, offered.lock)
        say(
            f"locked in stacks/{stack_file.name}; `./cluster preview{opened.choice}` shows what it does"
        )
