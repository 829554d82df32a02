"""Asking AWS for its list prices: the Price List service, for any region.

A call per instance type and five more for the rest, side by side: the service has no filter for
several types at once that every version of it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from model import prices
from model.prices import ListPrice

SERVICE_REGION = "us-east-1"
"""Where the service is asked, whatever region the prices are for: it answers in three only."""
SOURCE = "AWS price list"

_LINUX_ON_DEMAND = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    # A capacity block of the same type has other prices and matches all the rest.
    "marketoption": "OnDemand",
}
# Most regions put theirs before a usage type: EU-NatGateway-Hours.
_REGION_PREFIX = r"(?:[A-Z]{2,4}[0-9]?-)?"


@dataclass(frozen=True)
class _Usage:
    """How the service names what `model.prices` prices."""

    service: str
    filters: Mapping[str, str]
    usage_type: str
    units: Mapping[str, int]
    """The service's names of the unit, and how many of ours each is."""


_USAGES: Mapping[str, _Usage] = {
    prices.VOLUME: _Usage(
        "AmazonEC2", {"volumeApiName": "gp3"}, "EBS:VolumeUsage.gp3", {"GB-Mo": 1}
    ),
    prices.VOLUME_IOPS: _Usage(
        "AmazonEC2", {"volumeApiName": "gp3"}, "EBS:VolumeP-IOPS.gp3", {"IOPS-Mo": 1}
    ),
    prices.VOLUME_THROUGHPUT: _Usage(
        "AmazonEC2",
        {"volumeApiName": "gp3"},
        "EBS:VolumeP-Throughput.gp3",
        {"GiBps-mo": 1024, "MiBps-Mo": 1},
    ),
    prices.SNAPSHOT: _Usage(
        "AmazonEC2", {"productFamily": "Storage Snapshot"}, "EBS:SnapshotUsage", {"GB-Mo": 1}
    ),
    prices.NAT_GATEWAY: _Usage(
        "AmazonEC2", {"productFamily": "NAT Gateway"}, "NatGateway-Hours", {"Hrs": 1}
    ),
    prices.PUBLIC_ADDRESS: _Usage("AmazonVPC", {}, "PublicIPv4:InUseAddress", {"Hrs": 1}),
    prices.FILE_SYSTEM: _Usage("AmazonEFS", {}, "TimedStorage-ByteHrs", {"GB-Mo": 1}),
    prices.FILE_SYSTEM_THROUGHPUT: _Usage(
        "AmazonEFS", {}, "ProvisionedTP-MiBpsHrs", {"MiBps-Mo": 1}
    ),
}


def region_of(service: str, region: str) -> str:
    """The region in which a service answers for *region*: the Price List answers in one for all."""
    return SERVICE_REGION if service == "pricing" else region


def list_prices(client: Any, region: str, instance_types: Iterable[str]) -> dict[str, ListPrice]:
    """The prices of the types and of everything in `model.prices.UNITS`, as far as AWS has them.

    *client* is one of ``pricing`` in `SERVICE_REGION`. Raises the errors of boto3.
    """
    queries: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, _Usage]] = {}
    for name, usage in _USAGES.items():
        key = usage.service, tuple(usage.filters.items())
        queries.setdefault(key, {})[name] = usage
    for name in sorted(set(instance_types)):
        filters = {"instanceType": name, **_LINUX_ON_DEMAND}
        usage = _Usage("AmazonEC2", filters, f"BoxUsage:{name}", {"Hrs": 1})
        queries[usage.service, tuple(filters.items())] = {name: usage}

    def ask(query: tuple[str, tuple[tuple[str, str], ...]]) -> dict[str, ListPrice]:
        service, filters = query
        products = _products(client, service, {"regionCode": region, **dict(filters)})
        return dict(_priced(products, queries[query], region))

    found: dict[str, ListPrice] = {}
    with ThreadPoolExecutor(max_workers=8) as calls:
        for answer in calls.map(ask, queries):
            found |= answer
    return found


def _products(client: Any, service: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    pages = client.get_paginator("get_products").paginate(
        ServiceCode=service,
        FormatVersion="aws_v1",
        Filters=[
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in filters.items()
        ],
    )
    return [json.loads(product) for page in pages for product in page["PriceList"]]


def _priced(
    products: list[dict[str, Any]], usages: Mapping[str, _Usage], region: str
) -> Iterator[tuple[str, ListPrice]]:
    for product in products:
        usage_type = product["product"]["attributes"]["usagetype"]
        for name, usage in usages.items():
            if re.fullmatch(_REGION_PREFIX + re.escape(usage.usage_type), usage_type):
                usd = _usd(product, usage.units)
                if usd:
                    date = product["publicationDate"][:10]
                    yield name, ListPrice(usd, date, f"{SOURCE}, {region}", region)


def _usd(product: dict[str, Any], units: Mapping[str, int]) -> Decimal | None:
    """What the first of a unit costs, beyond what is free."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            usd = Decimal(dimension["pricePerUnit"].get("USD", "0"))
            if usd and dimension["unit"] in units:
                return (usd / units[dimension["unit"]]).normalize()
    return None
