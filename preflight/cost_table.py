"""How the cost of a stack is shown: a table for a person, a document for a script."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.table import Table

from model.cost import LEFT_OUT, Item, monthly, named
from model.prices import HOURS_PER_MONTH
from preflight.budget import not_kept
from preflight.cost import Reckoning
from preflight.tables import plain_table


def cost_table(known: Reckoning) -> Table:
    """What the stack costs, a row for all parts that are equal, with the difference to what runs now."""
    cost = known.cost
    columns = ("cost of", "what", "USD/hour", "USD/month", "list price or estimate")
    table = plain_table(*columns, prose=(columns[0], columns[1], columns[4]))
    for column in table.columns[2:4]:
        column.justify = "right"
    alike: dict[tuple[bool, str, str], list[Item]] = {}
    for item in cost.items:
        kind = (item.of == "leader", item.what, item.estimate)  # the leader has rows of its own
        alike.setdefault(kind, []).append(item)
    for members in alike.values():
        first, count = members[0], len(members)
        table.add_row(
            named([each.of for each in members]),
            first.what if count == 1 else f"{count} x {first.what}",
            *_amounts(None if first.hourly_usd is None else first.hourly_usd * count),
            _basis(first),
        )
    table.add_section()
    table.add_row("in all", "", *_amounts(cost.hourly_usd), _of_sum(known))
    limit = known.budget_usd
    if limit is not None:
        table.add_row("budget", "", *_amounts(limit / HOURS_PER_MONTH), _of_budget(known, limit))
    if known.present_unanswered:
        table.add_row("runs now", "", "?", "?", f"AWS did not say: {known.present_unanswered}")
    elif cost.now_usd is None:
        table.add_row("runs now", "", "?", "?", f"no price of {', '.join(cost.now_missing)}")
    else:
        spot = "spot at the on-demand price" if cost.now_spot else ""
        table.add_row("runs now", "", *_amounts(cost.now_usd), spot)
        table.add_row("difference", "", *_amounts(cost.hourly_usd - cost.now_usd, sign="+"), "")
    lists = "; ".join(sorted({name for each in cost.items for name in each.lists}))
    table.caption = f"Prices: {lists or 'none'}. Without {LEFT_OUT}."
    return table


def cost_line(known: Reckoning) -> str:
    """The sum in one line."""
    hourly, month = _amounts(known.cost.hourly_usd)
    note = _of_sum(known)
    return f"costs in all {hourly} USD an hour, {month} a month" + (f", {note}" if note else "")


def cost_document(known: Reckoning) -> dict[str, Any]:
    """The same for a script: US dollars, null where unknown; months of 730 hours."""
    cost = known.cost
    limit = known.budget_usd
    difference = None if cost.now_usd is None else cost.hourly_usd - cost.now_usd
    return {
        "region": known.region,
        "pricesOf": known.priced_in,
        "parts": [
            {
                "of": each.of,
                "what": each.what,
                **_both(each.hourly_usd),
                "atMost": _both(each.highest_usd),
                "estimate": each.estimate,
                "lists": list(each.lists),
                "withoutPrice": list(each.missing),
            }
            for each in cost.items
        ],
        "inAll": {**_both(cost.hourly_usd), "atMost": _both(cost.highest_usd)},
        "runsNow": {**_both(cost.now_usd), "withoutPrice": list(cost.now_missing)},
        "difference": _both(difference),
        "budget": None
        if limit is None
        else {"monthlyUsd": float(limit), "kept": _is_kept(known, limit)},
        "complete": not cost.unknown,
        "unanswered": [
            each for each in (known.prices_unanswered, known.present_unanswered) if each
        ],
        "leftOut": LEFT_OUT,
    }


def _basis(item: Item) -> str:
    if item.missing:
        return f"no price of {', '.join(item.missing)}"
    return (
        f"estimate: {item.estimate}"
        if item.estimate
        else f"list, {item.lists[0].rpartition(', ')[2]}"
    )


def _both(hourly_usd: Decimal | None) -> dict[str, float | None]:
    """An amount of money by the hour and by the month."""
    if hourly_usd is None:
        return {"hourlyUsd": None, "monthlyUsd": None}
    return {
        "hourlyUsd": round(float(hourly_usd), 4),
        "monthlyUsd": round(float(monthly(hourly_usd)), 2),
    }


def _amounts(hourly_usd: Decimal | None, *, sign: str = "") -> tuple[str, str]:
    if hourly_usd is None:
        return "unknown", "unknown"
    return f"{hourly_usd:{sign},.3f}", f"{monthly(hourly_usd):{sign},.2f}"


def _of_sum(known: Reckoning) -> str:
    notes = [] if known.priced_in == known.region else [f"prices of {known.priced_in}"]
    highest = known.cost.highest_usd
    if known.cost.unknown:
        notes.append("without what is unknown")
    elif highest > known.cost.hourly_usd:
        notes.append(f"at most {monthly(highest):,.2f} USD a month")
    return ", ".join(notes)


def _is_kept(known: Reckoning, limit: Decimal) -> bool | None:
    """Whether the stack stays within a budget; None where nobody can say."""
    if not_kept(known) is None:
        return True
    known_to_be_over = known.priced_in == known.region and monthly(known.cost.highest_usd) > limit
    return False if known_to_be_over else None


def _of_budget(known: Reckoning, limit: Decimal) -> str:
    return {
        True: "kept",
        False: f"exceeded: the stack may cost {monthly(known.cost.highest_usd):,.2f} USD a month",
        None: "cannot be judged: a price is unknown",
    }[_is_kept(known, limit)]
