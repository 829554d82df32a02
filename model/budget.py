"""Whether a stack stays within what its stack file allows it to cost."""

from __future__ import annotations

from decimal import Decimal

from model.cost import Cost, at_most, monthly
from model.problems import Problem

_PARTS_NAMED = 3


def over_budget(cost: Cost, monthly_usd: Decimal) -> Problem | None:
    """What is wrong with a cost that may be higher than the budget of a month."""
    highest = monthly(cost.highest_usd)
    if highest <= monthly_usd:
        return None
    enough = int(highest) + 1
    dearest = sorted(cost.items, key=at_most, reverse=True)[:_PARTS_NAMED]
    parts = ", ".join(f"{each.of} ({each.what}) {monthly(at_most(each)):,.0f}" for each in dearest)
    missing = " without what has no known price" if cost.unknown else ""
    return Problem(
        "budget.monthlyUsd",
        f"{monthly_usd:,.2f}, and the stack costs up to {highest:,.2f} USD a month{missing}",
        f"at least {enough}, or a smaller stack; most goes to {parts}",
        f"to accept it, write under graphistry-cluster:budget: monthlyUsd: {enough}",
    )


def not_within_budget(cost: Cost, monthly_usd: Decimal, lacking: str, mend: str) -> Problem:
    """A budget that nobody can say is kept: *lacking* is what has no known price, *mend* what would change that."""
    return Problem(
        "budget.monthlyUsd",
        f"{monthly_usd:,.2f}, and what is known costs up to {monthly(cost.highest_usd):,.2f} USD a month, and there "
        f"is no price of {lacking}",
        "a plan whose every part has a price",
        f"{mend}; who accepts it writes under graphistry-cluster: preflight: {{skip: [budget]}}",
    )
