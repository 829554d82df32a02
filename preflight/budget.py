"""The check ``budget``: the stack costs no more than its stack file allows, and AWS's own alarm can see it."""

from __future__ import annotations

from decimal import Decimal

from model.budget import not_within_budget, over_budget
from model.cost import SOFTWARE
from model.prices import LISTED_REGION
from model.problems import Problem
from model.settings.image import MARKETPLACE_PAGE
from model.tags import CLUSTER_TAG
from preflight.cost import Reckoning, reckoning, unpriced
from preflight.situation import Finding, Remark, Situation

ACTIVATE = (
    "aws ce update-cost-allocation-tags-status "
    f"--cost-allocation-tags-status TagKey={CLUSTER_TAG},Status=Active"
)
"""Makes the cluster's tag one by which AWS tells costs apart; AWS knows a tag a day after its first use."""

ALARM_SEES_NOTHING = (
    f"the alarm sees nothing of this stack until {CLUSTER_TAG} is a cost allocation tag; a day after the first "
    f"deployment, in the account that pays: {ACTIVATE}"
)


def budget(situation: Situation) -> tuple[Finding, ...]:
    """The stack cannot cost more than ``budget.monthlyUsd``, whatever types its followers get.

    A part without a known price is a problem, as nobody can say that the budget is kept. It remarks that somebody
    wants mail of the alarm and it would see nothing.
    """
    limit = situation.settings.budget
    if limit is None:
        return ()
    problem = not_kept(reckoning(situation))
    if problem is not None:
        return (problem,)
    if limit.alarm_emails and not _is_told_apart(situation):
        return (Remark(ALARM_SEES_NOTHING),)
    return ()


def not_kept(known: Reckoning) -> Problem | None:
    """Why the budget is not kept, or nobody can say that it is; None where it is, and without a budget."""
    if known.budget_usd is None:
        return None
    return over_budget(known.cost, known.budget_usd) or _unjudged(known, known.budget_usd)


def _unjudged(known: Reckoning, monthly_usd: Decimal) -> Problem | None:
    """What has no price: a part, or everything where AWS gives no prices and those here are another region's."""
    if known.priced_in != known.region:
        lacking = (
            f"anything in {known.region}, as AWS did not give its prices ({known.prices_unanswered}) and those "
            f"that come with the program are of {LISTED_REGION}"
        )
        return not_within_budget(
            known.cost, monthly_usd, lacking, "the right pricing:GetProducts gives them"
        )
    if known.cost.unknown:
        of_software = all(each.missing == (SOFTWARE,) for each in known.cost.unknown)
        mend = (
            f"add what {MARKETPLACE_PAGE} shows by hand"
            if of_software
            else "choose another instance type"
        )
        return not_within_budget(known.cost, monthly_usd, unpriced(known.cost), mend)
    return None


def _is_told_apart(situation: Situation) -> bool:
    """Whether AWS tells costs apart by the cluster's tag."""
    answer = situation.client("ce").list_cost_allocation_tags(
        TagKeys=[CLUSTER_TAG], Status="Active"
    )
    return bool(answer["CostAllocationTags"])
