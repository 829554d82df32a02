"""What the stack costs before it costs anything, and the check ``price``.

Prices are asked of AWS for the stack's region. Where AWS does not answer, those that come with the
program take their place, and the check ``price`` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from model.cost import (
    LISTED,
    SOFTWARE,
    Cost,
    Present,
    SpotPrice,
    Volume,
    named,
    planned_items,
    present_missing,
    present_usd,
)
from model.cross_zone import cross_zone_traffic
from model.prices import LISTED_REGION, Prices
from model.settings.aws import Settings
from model.settings.image import MARKETPLACE_PAGE
from model.tags import CLUSTER_TAG
from preflight.price_list import list_prices
from preflight.situation import (
    Remark,
    Situation,
    UnansweredError,
    file_systems,
    once,
    zones_of_region,
)
from preflight.spot import spot_prices

MOST_VALUES = 200
"""Values that a filter of EC2 takes."""

NOT_SIGNED_IN = "you are not signed in"
"""Why AWS is not asked."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Reckoning:
    """A cost, and what AWS did not say on the way to it."""

    cost: Cost
    region: str
    """Where the stack is."""
    budget_usd: Decimal | None
    """What its stack file allows a month; None without a budget."""
    prices_unanswered: str
    """Why AWS was not heard about its prices; empty where it was."""
    present_unanswered: str
    """The same about what runs now."""

    @property
    def priced_in(self) -> str:
        """The region whose prices these are."""
        return LISTED_REGION if self.prices_unanswered else self.region


@once
def reckoning(situation: Situation) -> Reckoning:
    """What the stack costs; asked of AWS once, however many want it."""
    with ThreadPoolExecutor() as calls:
        asked = calls.submit(_heard, lambda: _prices(situation))
        seen = calls.submit(_heard, lambda: _present(situation))
        zones = calls.submit(_heard, lambda: _zones(situation))
        spot = calls.submit(_heard, lambda: _spot(situation))
        (answered, prices_unanswered), (found, present_unanswered) = asked.result(), seen.result()
        network_zones, _ = zones.result()
        spot_now, _ = spot.result()
    # What AWS has no price for stays unknown: an older one would be a guess.
    prices = LISTED if answered is None else answered
    present = found or Present()
    limit = situation.settings.budget
    return Reckoning(
        cost=Cost(
            items=(
                *planned_items(
                    situation.settings,
                    situation.nodes,
                    prices,
                    situation.region,
                    zones=network_zones,
                    present=present,
                    spot=spot_now,
                ),
                *cross_zone_traffic(situation.settings, situation.nodes),
            ),
            now_usd=present_usd(present, prices) if found else None,
            now_missing=present_missing(present, prices),
            now_spot=present.spot,
        ),
        region=situation.region,
        budget_usd=None if limit is None else Decimal(str(limit.monthly_usd)),
        prices_unanswered=prices_unanswered,
        present_unanswered=present_unanswered,
    )


def price(situation: Situation) -> tuple[Remark, ...]:
    """The price of everything is known, from AWS today.

    It never finds a problem, as what AWS has no price for may be had all the same: it remarks what that is, and
    raises :class:`UnansweredError` where prices are from the list that comes with the program.
    """
    known = reckoning(situation)
    told = []
    if known.prices_unanswered:
        remedy = (
            "`aws sso login`, or another way to sign in,"
            if known.prices_unanswered == NOT_SIGNED_IN
            else "the right pricing:GetProducts"
        )
        told.append(
            f"AWS did not give its prices ({known.prices_unanswered}), so these are those of {LISTED_REGION} that come "
            f"with the program; {remedy} gives those of today and of the region"
        )
    if known.cost.unknown:
        without = [f"AWS lists no price of {unpriced(known.cost)}; the sum is without it"]
        names = {name for item in known.cost.unknown for name in item.missing}
        if SOFTWARE in names:
            without.append(f"{MARKETPLACE_PAGE} shows {SOFTWARE}, by the hour, for its image")
        if names != {SOFTWARE}:
            without.append(
                "What AWS sells as capacity blocks only, or in another region, has none: ask your AWS contact, or "
                "choose another type"
            )
        told.append(". ".join(without))
    if known.prices_unanswered:
        raise UnansweredError(". ".join(told))
    return tuple(Remark(each) for each in told)


def _prices(situation: Situation) -> Prices:
    types = {each for node in situation.nodes for each in node.instance_types}
    running, _ = _heard(situation.machines)  # which is said where they are counted
    types |= {each.instance_type for each in running or () if each.cluster == situation.cluster}
    return list_prices(situation.client("pricing"), situation.region, types)


def _spot(situation: Situation) -> dict[str, SpotPrice]:
    """What the first types of nodes on spot cost now; asked only if there are any."""
    types = {node.instance_types[0] for node in situation.nodes if node.market == "spot"}
    return spot_prices(situation.client("ec2"), types) if types else {}


def _present(situation: Situation) -> Present:
    """What of the cluster exists; its file system is found by its tag, like everything else."""
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [situation.cluster]}
    tag = {"Key": CLUSTER_TAG, "Value": situation.cluster}
    ec2 = situation.client("ec2")
    machines = [each for each in situation.machines() if each.cluster == situation.cluster]
    gateways = ec2.get_paginator("describe_nat_gateways").paginate(
        Filter=[ours, {"Name": "state", "Values": ["pending", "available"]}]
    )
    folders = [each for each in file_systems(situation) if tag in each["Tags"]]
    return Present(
        instance_types=tuple(each.instance_type for each in machines),
        spot=any(each.market == "spot" for each in machines),
        volumes=_volumes(ec2, [ours, *_attached_to([each.instance_id for each in machines])]),
        # Looked at here too: the sandbox's AWS does not know the filter.
        nat_gateways=sum(
            tag in each.get("Tags", []) for page in gateways for each in page["NatGateways"]
        ),
        stored_gib=sum(
            (Decimal(each["SizeInBytes"]["Value"]) / 2**30 for each in folders), Decimal(0)
        ),
        provisioned_mibps=sum(
            (Decimal(str(each.get("ProvisionedThroughputInMibps", 0))) for each in folders),
            Decimal(0),
        ),
    )


def _attached_to(instances: list[str]) -> list[dict[str, Any]]:
    """Filters for the disks of machines: whether a group's template has tagged them or not."""
    return [
        {"Name": "attachment.instance-id", "Values": instances[start : start + MOST_VALUES]}
        for start in range(0, len(instances), MOST_VALUES)
    ]


def _volumes(ec2: Any, filters: list[dict[str, Any]]) -> tuple[Volume, ...]:
    """The volumes that any of the filters finds, each once."""
    pages = [
        page
        for each in filters
        for page in ec2.get_paginator("describe_volumes").paginate(Filters=[each])
    ]
    found = {each["VolumeId"]: each for page in pages for each in page["Volumes"]}
    return tuple(
        Volume(
            volume_type=each["VolumeType"],
            size_gib=each["Size"],
            iops=each.get("Iops", 0),
            throughput_mibps=each.get("Throughput", 0),
        )
        for each in found.values()
    )


def _zones(situation: Situation) -> int:
    """How many zones the network gets where the stack file names none; asked only if it matters."""
    settings = situation.settings
    if not isinstance(settings, Settings) or settings.network.nat_gateways == "single":
        return 1
    if settings.network.availability_zones or settings.network.vpc_id:
        return len(settings.network.availability_zones)
    return len(zones_of_region(situation))


def _heard(ask: Callable[[], _Answer]) -> tuple[_Answer | None, str]:
    """An answer of AWS, or why there is none."""
    try:
        return ask(), ""
    except ClientError as error:
        return None, error.response["Error"]["Code"]
    except (NoCredentialsError, PartialCredentialsError):
        return None, NOT_SIGNED_IN
    except BotoCoreError as error:
        return None, type(error).__name__
    except UnansweredError as error:
        return None, str(error)


def unpriced(cost: Cost) -> str:
    """What has no known price, and whose it is."""
    whose: dict[str, list[str]] = {}
    for item in cost.unknown:
        for name in item.missing:
            whose.setdefault(name, []).append(item.of)
    return "; ".join(f"{name} ({named(parts)})" for name, parts in whose.items())
