"""What spot machines cost now: the last price of each type, in the zone where it is lowest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from model.cost import SpotPrice


def spot_prices(ec2: Any, types: Iterable[str]) -> dict[str, SpotPrice]:
    """Instance type to its price; one without spot is missing. One paginated call. Raises the errors of boto3."""
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=sorted(types),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.now(UTC),  # the price that holds now, and no history
    )
    found: dict[str, SpotPrice] = {}
    for page in pages:
        for each in page["SpotPriceHistory"]:
            price = SpotPrice(Decimal(each["SpotPrice"]), each["AvailabilityZone"])
            known = found.setdefault(each["InstanceType"], price)
            if price.usd < known.usd:
                found[each["InstanceType"]] = price
    return found
