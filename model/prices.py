"""List prices: what AWS asks for, when it was read and where.

Two files are the list that comes with the program, `gpu_instance_types.csv` for machines and
`prices.csv` for what they need beside. An empty price is unknown and never zero. Both are what one
region asks; `preflight.price_list` asks AWS for any region.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

PRICES_FILE = Path(__file__).with_name("prices.csv")
LISTED_REGION = "us-east-1"
"""The region whose prices come with the program."""
HOURS_PER_MONTH = 730
"""A month of an estimate, as AWS reckons: 365 days of 24 hours in 12 parts."""

VOLUME = "gp3 storage"
VOLUME_IOPS = "gp3 IOPS"
VOLUME_THROUGHPUT = "gp3 throughput"
SNAPSHOT = "EBS snapshot"
NAT_GATEWAY = "NAT gateway"
PUBLIC_ADDRESS = "public IPv4 address"
FILE_SYSTEM = "EFS storage"
FILE_SYSTEM_THROUGHPUT = "EFS provisioned throughput"

UNITS: Mapping[str, str] = {
    VOLUME: "GiB-month",
    VOLUME_IOPS: "IOPS-month",
    VOLUME_THROUGHPUT: "MiB/s-month",
    SNAPSHOT: "GiB-month",
    NAT_GATEWAY: "hour",
    PUBLIC_ADDRESS: "hour",
    FILE_SYSTEM: "GiB-month",
    FILE_SYSTEM_THROUGHPUT: "MiB/s-month",
}
"""What is priced beside machines, and for how much of it; a machine is priced by the hour."""


@dataclass(frozen=True)
class ListPrice:
    """What one unit costs on demand, before taxes and discounts."""

    usd: Decimal
    """US dollars, more than zero."""
    date: str
    """When AWS published it or somebody read it there: a year, a month or a day."""
    source: str
    """Where it was read."""
    region: str = LISTED_REGION
    """Whose price it is."""


Prices = Mapping[str, ListPrice]
"""Instance type, or a key of `UNITS`, to its price; what is unknown has no key."""


def read_prices(path: Path = PRICES_FILE) -> dict[str, ListPrice]:
    """The prices of `UNITS` that the file has. Raises `ValueError` for a malformed row."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    if set(rows) != set(UNITS):
        raise ValueError(f"{path}: got {', '.join(rows)}; allowed are {', '.join(UNITS)}")
    found = {name: price_of(row["usd"], row["date"], row["source"]) for name, row in rows.items()}
    return {name: price for name, price in found.items() if price is not None}


def write_prices(prices: Prices, path: Path) -> None:
    """Writes the file that `read_prices` reads; a price that *prices* lacks stays empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "unit", "usd", "date", "source"))
        writer.writerows((name, unit, *cells_of(prices.get(name))) for name, unit in UNITS.items())


def price_of(usd: str, date: str, source: str) -> ListPrice | None:
    """A price as it stands in a file; None where it is empty. Raises `ValueError`."""
    if not usd:
        return None
    if not usd.replace(".", "", 1).isdigit() or not Decimal(usd) or not date or not source:
        raise ValueError(f"a price is a number above zero with date and source: got {usd!r}")
    return ListPrice(Decimal(usd), date, source)


def cells_of(price: ListPrice | None) -> tuple[str, str, str]:
    """A price as it stands in a file."""
    return ("", "", "") if price is None else (f"{price.usd:f}", price.date, price.source)
