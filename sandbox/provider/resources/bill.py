"""Budgets of AWS Budgets. They belong to an account and to no region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...account import ACCOUNT
from ..aws import Aws, tag_list
from ..table import ResourceType
from ..values import Properties

_NOTIFICATION = {
    "notificationType": "NotificationType",
    "comparisonOperator": "ComparisonOperator",
    "threshold": "Threshold",
    "thresholdType": "ThresholdType",
}


def _create(aws: Aws, inputs: Properties) -> str:
    aws.call(
        "budgets.create_budget",
        AccountId=ACCOUNT,
        Budget=_budget(inputs["name"], inputs),
        NotificationsWithSubscribers=[
            {"Notification": details, "Subscribers": subscribers}
            for details, subscribers in _notifications(inputs)
        ],
    )
    return f"{ACCOUNT}:{inputs['name']}"


def _read(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    of = _of(identifier)
    found = aws.call("budgets.describe_budget", **of)["Budget"]
    arn = _arn(identifier)
    tags = aws.call("budgets.list_tags_for_resource", ResourceARN=arn)["ResourceTags"]
    return {
        "name": found["BudgetName"],
        "accountId": ACCOUNT,
        "arn": arn,
        "budgetType": found["BudgetType"],
        "timeUnit": found["TimeUnit"],
        "limitAmount": found["BudgetLimit"]["Amount"],
        "limitUnit": found["BudgetLimit"]["Unit"],
        "costFilters": [
            {"name": name, "values": values} for name, values in found["CostFilters"].items()
        ],
        "notifications": [_notification(aws, of, details) for details in _listed(aws, of)],
        "tags": tags,
    }


def _notification(aws: Aws, of: Mapping[str, str], details: Mapping[str, Any]) -> dict[str, Any]:
    answer = aws.call(
        "budgets.describe_subscribers_for_notification", **of, Notification=dict(details)
    )
    return {
        **{ours: details[name] for ours, name in _NOTIFICATION.items()},
        "subscriberEmailAddresses": [each["Address"] for each in answer["Subscribers"]],
    }


def _update_budget(aws: Aws, identifier: str, inputs: Properties) -> None:
    new = _budget(_of(identifier)["BudgetName"], inputs)
    aws.call("budgets.update_budget", AccountId=ACCOUNT, NewBudget=new)


def _update_notifications(aws: Aws, identifier: str, inputs: Properties) -> None:
    """As the provider does it: all of them anew."""
    of = _of(identifier)
    for details in _listed(aws, of):
        aws.call("budgets.delete_notification", **of, Notification=details)
    for new, subscribers in _notifications(inputs):
        aws.call("budgets.create_notification", **of, Notification=new, Subscribers=subscribers)


def _delete(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call("budgets.delete_budget", **_of(identifier))


def _tag(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    arn = _arn(identifier)
    if tags:
        aws.call("budgets.tag_resource", ResourceARN=arn, ResourceTags=tag_list(tags))
    if removed:
        aws.call("budgets.untag_resource", ResourceARN=arn, ResourceTagKeys=removed)


def _budget(name: str, inputs: Properties) -> dict[str, Any]:
    return {
        "BudgetName": name,
        "BudgetType": inputs["budgetType"],
        "TimeUnit": inputs["timeUnit"],
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        "CostFilters": {each["name"]: each["values"] for each in inputs.get("costFilters", [])},
    }


def _notifications(inputs: Properties) -> list[tuple[dict[str, Any], list[dict[str, str]]]]:
    return [
        (
            {name: each[ours] for ours, name in _NOTIFICATION.items()},
            [
                {"SubscriptionType": "EMAIL", "Address": address}
                for address in each["subscriberEmailAddresses"]
            ],
        )
        for each in inputs.get("notifications", [])
    ]


def _listed(aws: Aws, of: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.call("budgets.describe_notifications_for_budget", **of)[
        "Notifications"
    ]
    return found


def _of(identifier: str) -> dict[str, str]:
    account, _, name = identifier.partition(":")
    return {"AccountId": account, "BudgetName": name}


def _arn(identifier: str) -> str:
    return f"arn:aws:budgets::{ACCOUNT}:budget/{_of(identifier)['BudgetName']}"


TYPES = {
    "aws:budgets/budget:Budget": ResourceType(
        fixed="name",
        updates={
            "budgetType timeUnit limitAmount limitUnit costFilters": _update_budget,
            "notifications": _update_notifications,
        },
        nested={
            "costFilters": "name values",
            "notifications": (
                "notificationType comparisonOperator threshold thresholdType subscriberEmailAddresses"
            ),
        },
        unordered="costFilters notifications notifications.subscriberEmailAddresses",
        needed="limitAmount limitUnit",
        name="name",
        name_length=100,
        create=_create,
        read=_read,
        delete=_delete,
        tagger=_tag,
    ),
}
