"""The alarm of AWS Budgets: mail when a stack's bill passes what its stack file allows, or is about to."""

from __future__ import annotations

import pulumi
from pulumi_aws import budgets

from model.settings.aws import Budget
from model.tags import CLUSTER_TAG, named

ACTUAL_PERCENT = 80
"""Of the budget, spent: early enough to end what nobody needs."""
FORECAST_PERCENT = 100
"""Of the budget, as AWS forecasts the month."""


def budget_alarm(
    name: str, budget: Budget | None, cluster: str, opts: pulumi.ResourceOptions
) -> None:
    """Make the alarm for what carries the tag of *cluster*; nothing where nobody wants mail.

    Another amount or address changes it in place.
    """
    if budget is None or not budget.alarm_emails:
        return
    budgets.Budget(
        f"{name}-budget",
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{budget.monthly_usd:.2f}",
        limit_unit="USD",
        cost_filters=[
            budgets.BudgetCostFilterArgs(
                name="TagKeyValue", values=[f"user:{CLUSTER_TAG}${cluster}"]
            )
        ],
        notifications=[
            budgets.BudgetNotificationArgs(
                notification_type=kind,
                comparison_operator="GREATER_THAN",
                threshold=threshold,
                threshold_type="PERCENTAGE",
                subscriber_email_addresses=list(budget.alarm_emails),
            )
            for kind, threshold in (("ACTUAL", ACTUAL_PERCENT), ("FORECASTED", FORECAST_PERCENT))
        ],
        tags=named(f"{name}-budget"),
        opts=opts,
    )
