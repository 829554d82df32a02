"""What a stack costs: every part that is paid by the hour or by the month, at list prices.

Not in it is what depends on use: data transfer, requests, logs, what backups store, the bucket; nor what is cents:
the secret, the private name, detailed monitoring. Whoever shows a cost says so (`LEFT_OUT`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from model.gpu_catalogue import CATALOGUE
from model.plan import PlannedNode
from model.prices import (
    FILE_SYSTEM,
    FILE_SYSTEM_THROUGHPUT,
    HOURS_PER_MONTH,
    LISTED_REGION,
    NAT_GATEWAY,
    PUBLIC_ADDRESS,
    SNAPSHOT,
    UNITS,
    VOLUME,
    VOLUME_IOPS,
    VOLUME_THROUGHPUT,
    Prices,
    read_prices,
)
from model.settings.aws import DataVolume, FollowersOnAws, Settings, SharedFolder

LISTED: Prices = {
    **{name: row.price for name, row in CATALOGUE.items() if row.price is not None},
    **read_prices(),
}
"""The prices that come with the program, those of `LISTED_REGION`."""

SOFTWARE = "Graphistry's own charge"
"""What the vendor asks by the hour for nodes of its Marketplace image; no list of AWS's prices has it."""

LEFT_OUT = "data transfer, requests, logs, backups, monitoring, taxes and discounts"
"""What no cost here has in it."""

INCLUDED_IOPS = 3000
INCLUDED_MIBPS = 125
"""What every gp3 volume has without a charge of its own."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One part of a stack that is paid for."""

    of: str
    """The node, ``network`` or ``shared folder``."""
    what: str
    """What it is, in a few words."""
    hourly_usd: Decimal | None
    """What it is expected to cost; None where a price is unknown, never zero for that."""
    highest_usd: Decimal | None
    """The same at most: the dearest of the types that a follower may run on."""
    lists: tuple[str, ...]
    """The lists it comes from, each with its date."""
    missing: tuple[str, ...]
    """What has no known price."""
    estimate: str = ""
    """Why the bill may say otherwise; empty for a list price of something certain."""


@dataclass(frozen=True)
class SpotPrice:
    """What a spot machine of one type costs an hour now, in USD, and in which zone that is."""

    usd: Decimal
    zone: str


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An EBS volume that exists. GiB, I/O operations and MiB per second."""

    volume_type: str
    size_gib: int
    iops: int
    throughput_mibps: int


@dataclass(frozen=True, kw_only=True)
class Present:
    """What of a cluster exists and is paid for now."""

    instance_types: tuple[str, ...] = ()
    spot: bool = False
    """Whether any of those machines is one."""
    volumes: tuple[Volume, ...] = ()
    nat_gateways: int = 0
    stored_gib: Decimal = Decimal(0)
    """In the file system of the cluster's own."""
    provisioned_mibps: Decimal = Decimal(0)
    """Throughput of that file system; zero unless it is provisioned."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stack file asks for, and what of it runs already."""

    items: tuple[Item, ...]
    now_usd: Decimal | None
    """What runs now costs an hour, spot machines at their on-demand price; None where unknown."""
    now_missing: tuple[str, ...] = ()
    """What runs now and has no known price."""
    now_spot: bool = False
    """Whether anything that runs now is a spot machine."""

    @property
    def hourly_usd(self) -> Decimal:
        """The sum of what is known."""
        return sum((each.hourly_usd or Decimal(0) for each in self.items), Decimal(0))

    @property
    def highest_usd(self) -> Decimal:
        """The same at most."""
        return sum(map(at_most, self.items), Decimal(0))

    @property
    def unknown(self) -> tuple[Item, ...]:
        """The parts whose price is not known, or not for every type."""
        return tuple(each for each in self.items if each.highest_usd is None)


def planned_items(
    settings: FollowersOnAws,
    nodes: Iterable[PlannedNode],
    prices: Prices,
    region: str,
    *,
    zones: int | None,
    present: Present,
    spot: Mapping[str, SpotPrice] | None = None,
) -> tuple[Item, ...]:
    """Every part of a stack. *zones* is how many the network has where the stack file names none; None if unknown."""
    items = [item for node in nodes for item in _of_node(node, prices, region, spot or {})]
    if settings.image.marketplace:
        items.append(_software())
    if isinstance(settings, Settings):
        network, folder = settings.network, settings.shared_folder
        if network.vpc_id is None:
            single = network.nat_gateways == "single"
            count = 1 if single else len(network.availability_zones) or zones
            items.append(_gateways(count, prices, region))
        if folder.file_system_id is None:
            items.extend(_of_folder(folder, present.stored_gib, prices, region))
    return tuple(items)


def present_usd(present: Present, prices: Prices) -> Decimal | None:
    """What exists costs an hour; None where a price of it is unknown."""
    return _hourly(_parts(present), prices)


def present_missing(present: Present, prices: Prices) -> tuple[str, ...]:
    """What exists and has no known price, each once."""
    return tuple(dict.fromkeys(name for name, _ in _parts(present) if name not in prices))


def _parts(present: Present) -> list[tuple[str, Decimal]]:
    """What exists, by the names of its prices; a volume of another kind than this program makes has none."""
    wanted = [(name, Decimal(1)) for name in present.instance_types]
    for volume in present.volumes:
        wanted += (
            _volume(volume.size_gib, volume.iops, volume.throughput_mibps)
            if volume.volume_type == "gp3"
            else [(f"{volume.volume_type} volume", Decimal(volume.size_gib))]
        )
    wanted += _gateway(present.nat_gateways)
    wanted += [
        (FILE_SYSTEM, present.stored_gib),
        (FILE_SYSTEM_THROUGHPUT, present.provisioned_mibps),
    ]
    return _used(wanted)


def named(names: list[str]) -> str:
    """The first of some names and how many more there are; two are both named."""
    first, *others = names
    return f"{first} and {len(others)} more" if len(others) > 1 else ", ".join(names)


def monthly(hourly_usd: Decimal) -> Decimal:
    """An hour's cost as a month's."""
    return hourly_usd * HOURS_PER_MONTH


def at_most(item: Item) -> Decimal:
    """What is known of a part's cost at most."""
    return item.highest_usd or item.hourly_usd or Decimal(0)


def _of_node(
    node: PlannedNode, prices: Prices, region: str, spot: Mapping[str, SpotPrice]
) -> Iterator[Item]:
    first = node.instance_types[0]
    known = {each: prices[each].usd for each in node.instance_types if each in prices}
    highest = max(known.values()) if len(known) == len(node.instance_types) else None
    notes = []
    expected = known.get(first)
    if node.market == "spot" and first in spot:
        expected = spot[first].usd
        notes.append(f"spot now in {spot[first].zone}, at most the on-demand price")
    elif node.market == "spot":
        notes.append("spot, at most the on-demand price")
    elif node.market == "capacity-block":
        notes.append("a capacity block is paid in advance, at a price of its own")
    if highest is not None and highest > known[first]:
        dearest = max(known, key=lambda each: known[each])
        notes.append(f"up to {highest:.2f} USD an hour as {dearest}")
    yield _item(
        node.name,
        first,
        expected,
        highest,
        node.instance_types,
        prices,
        region,
        notes,
    )
    yield _sized(
        node.name,
        f"root disk, {node.root_volume_gib} GiB",
        _volume(node.root_volume_gib, INCLUDED_IOPS, INCLUDED_MIBPS),
        prices,
        region,
    )
    if node.data_volume is not None:
        yield _data_volume(node.name, node.data_volume, prices, region)
        if node.data_volume.backups.every_hours:
            yield _snapshots(node.name, node.data_volume, prices, region)


def _software() -> Item:
    return Item(
        of="all nodes",
        what="Marketplace image",
        hourly_usd=None,
        highest_usd=None,
        lists=(),
        missing=(SOFTWARE,),
    )


def _data_volume(of: str, volume: DataVolume, prices: Prices, region: str) -> Item:
    what = (
        f"data volume, {volume.size_gib} GiB, {volume.iops} IOPS, {volume.throughput_mibps} MiB/s"
    )
    wanted = _volume(volume.size_gib, volume.iops, volume.throughput_mibps)
    return _sized(of, what, wanted, prices, region)


def _snapshots(of: str, volume: DataVolume, prices: Prices, region: str) -> Item:
    """Nobody knows how much of a volume is written to, so all of it is named beside the price."""
    backups = volume.backups
    what = f"snapshots every {backups.every_hours} h, kept {backups.keep_days} days"
    listed = prices.get(SNAPSHOT)
    rate = f"{listed.usd:.2f} USD a GiB-month" if listed else "an unknown price"
    full = (
        f", up to {listed.usd * volume.size_gib:.2f} USD a month for a full copy" if listed else ""
    )
    note = f"grow by {rate}{full}, as later ones hold what changed"
    return _sized(of, what, [(SNAPSHOT, Decimal(0))], prices, region, [note])


def _gateways(known: int | None, prices: Prices, region: str) -> Item:
    count = known or 1
    notes = [] if known else ["one for each zone, and AWS did not say how many there are"]
    what = (
        f"{count} NAT gateway{'s' if count > 1 else ''}, public address{'es' if count > 1 else ''}"
    )
    return _sized("network", what, _gateway(count), prices, region, notes)


def _of_folder(
    folder: SharedFolder, stored_gib: Decimal, prices: Prices, region: str
) -> Iterator[Item]:
    if folder.provisioned_throughput_mibps is not None:
        speed = Decimal(str(folder.provisioned_throughput_mibps))
        what = f"EFS, {speed:f} MiB/s provisioned"
        wanted = [(FILE_SYSTEM_THROUGHPUT, speed)]
        yield _sized("shared folder", what, wanted, prices, region)
    storage = prices.get(FILE_SYSTEM)
    rate = f"{storage.usd:.2f} USD a GiB-month" if storage else "an unknown price"
    traffic = "; elastic throughput is paid by traffic" * (folder.throughput_mode == "elastic")
    yield _sized(
        "shared folder",
        f"EFS, {stored_gib:,.0f} GiB stored",
        [(FILE_SYSTEM, stored_gib)],
        prices,
        region,
        [f"grows by {rate}{traffic}"],
    )


def _volume(size_gib: int, iops: int, throughput_mibps: int) -> list[tuple[str, Decimal]]:
    return [
        (VOLUME, Decimal(size_gib)),
        (VOLUME_IOPS, Decimal(max(0, iops - INCLUDED_IOPS))),
        (VOLUME_THROUGHPUT, Decimal(max(0, throughput_mibps - INCLUDED_MIBPS))),
    ]


def _gateway(count: int) -> list[tuple[str, Decimal]]:
    """Each NAT gateway has a public address of its own."""
    return [(NAT_GATEWAY, Decimal(count)), (PUBLIC_ADDRESS, Decimal(count))]


def _sized(
    of: str,
    what: str,
    wanted: list[tuple[str, Decimal]],
    prices: Prices,
    region: str,
    notes: Iterable[str] = (),
) -> Item:
    """What costs the same whatever happens, for as long as it is."""
    used = [
        *wanted[:1],
        *_used(wanted[1:]),
    ]  # the first is what it is, even while there is none of it
    usd = _hourly(used, prices)
    return _item(of, what, usd, usd, [name for name, _ in used], prices, region, notes)


def _item(
    of: str,
    what: str,
    hourly_usd: Decimal | None,
    highest_usd: Decimal | None,
    names: Sequence[str],
    prices: Prices,
    region: str,
    notes: Iterable[str],
) -> Item:
    used = [prices[name] for name in names if name in prices]
    elsewhere = any(each.region != region for each in used)
    return Item(
        of=of,
        what=what,
        hourly_usd=hourly_usd,
        highest_usd=highest_usd,
        lists=tuple(sorted({f"{each.source}, {each.date}" for each in used})),
        missing=tuple(name for name in names if name not in prices),
        estimate="; ".join([*notes, *[f"price of {LISTED_REGION}"] * elsewhere]),
    )


def _used(wanted: Iterable[tuple[str, Decimal]]) -> list[tuple[str, Decimal]]:
    return [(name, quantity) for name, quantity in wanted if quantity]


def _hourly(wanted: Iterable[tuple[str, Decimal]], prices: Prices) -> Decimal | None:
    total = Decimal(0)
    for name, quantity in wanted:
        if name not in prices:
            return None
        hours = 1 if UNITS.get(name, "hour") == "hour" else HOURS_PER_MONTH
        total += prices[name].usd * quantity / hours
    return total
