"""What moto does not know of the bill: changed budgets, whom they write to, their tags, and cost allocation tags."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from moto.budgets.exceptions import NotFoundException
from moto.budgets.models import Budget
from moto.budgets.responses import BudgetsResponse
from moto.ce.responses import CostExplorerResponse


def mend() -> None:
    """Let AWS Budgets and Cost Explorer answer what this program asks of them; call it once, before moto serves."""
    create = BudgetsResponse.create_budget

    def create_with_tags(request: Any) -> str:
        answer: str = create(request)
        asked = json.loads(request.body)
        _budget(request, asked["Budget"]["BudgetName"]).tags = asked.get("ResourceTags", [])
        return answer

    def update(request: Any) -> str:
        new = json.loads(request.body)["NewBudget"]
        known = _budget(request, new["BudgetName"])
        known.budget = {**known.budget, **new}
        return json.dumps({})

    def subscribers(request: Any) -> str:
        asked = json.loads(request.body)
        for each in _budget(request, asked["BudgetName"]).notifications:
            if each.details == asked["Notification"]:
                return json.dumps({"Subscribers": each.subscribers})
        raise NotFoundException("Unable to get the subscribers - the notification doesn't exist.")

    def list_tags(request: Any) -> str:
        return json.dumps({"ResourceTags": _tagged(request).tags})

    def tag(request: Any) -> str:
        known, new = _tagged(request), json.loads(request.body)["ResourceTags"]
        keys = {each["Key"] for each in new}
        known.tags = [each for each in known.tags if each["Key"] not in keys] + new
        return json.dumps({})

    def untag(request: Any) -> str:
        known, keys = _tagged(request), json.loads(request.body)["ResourceTagKeys"]
        known.tags = [each for each in known.tags if each["Key"] not in keys]
        return json.dumps({})

    BudgetsResponse.create_budget = create_with_tags
    BudgetsResponse.update_budget = update
    BudgetsResponse.describe_subscribers_for_notification = subscribers
    BudgetsResponse.list_tags_for_resource = list_tags
    BudgetsResponse.tag_resource = tag
    BudgetsResponse.untag_resource = untag
    CostExplorerResponse.list_cost_allocation_tags = _cost_allocation_tags
    CostExplorerResponse.update_cost_allocation_tags_status = _set_status


def _cost_allocation_tags(request: Any) -> str:
    """ListCostAllocationTags: those that were made active; AWS lists what was ever used, a day later."""
    asked = json.loads(request.body)
    return json.dumps(
        {
            "CostAllocationTags": [
                each
                for each in _statuses(request).values()
                if each["TagKey"] in asked.get("TagKeys", [each["TagKey"]])
                and each["Status"] == asked.get("Status", each["Status"])
            ]
        }
    )


def _set_status(request: Any) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for each in json.loads(request.body)["CostAllocationTagsStatus"]:
        made = {**each, "Type": "UserDefined", "LastUpdatedDate": now}
        _statuses(request)[each["TagKey"]] = made
    return json.dumps({"Errors": []})


def _statuses(request: Any) -> dict[str, dict[str, str]]:
    kept: dict[str, dict[str, str]] = request.ce_backend.__dict__.setdefault("statuses", {})
    return kept


def _tagged(request: Any) -> Any:
    return _budget(request, json.loads(request.body)["ResourceARN"].partition("budget/")[2])


def _budget(request: Any, name: str) -> Any:
    found: Budget | None = request.backend.budgets[request.current_account].get(name)
    if found is None:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
    return found
