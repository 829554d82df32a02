"""Mail when the bill passes the budget."""

import pytest

from tests.conftest import Deploy

NAME = "graphistry-sandbox-budget"


def test_the_alarm_watches_this_stack_and_writes_to_everybody_named(deploy_stack: Deploy) -> None:
    emails = ["ops@example.com", "finance@example.com"]
    recorder = deploy_stack(budget={"monthlyUsd": 30000, "alarmEmails": emails})
    inputs = recorder["Budget", NAME].inputs
    assert (inputs["limitAmount"], inputs["limitUnit"]) == ("30000.00", "USD")
    (cost_filter,) = inputs["costFilters"]
    assert cost_filter == {
        "name": "TagKeyValue",
        "values": ["user:graphistry-cluster:cluster$graphistry-cluster/sandbox"],
    }
    told = {each["notificationType"]: each for each in inputs["notifications"]}
    assert {kind: each["threshold"] for kind, each in told.items()} == {
        "ACTUAL": 80,
        "FORECASTED": 100,
    }
    assert all(each["subscriberEmailAddresses"] == emails for each in told.values())


@pytest.mark.parametrize("budget", [{}, {"budget": {"monthlyUsd": 30000}}])
def test_nobody_gets_mail_who_did_not_ask(
    deploy_stack: Deploy, budget: dict[str, dict[str, int]]
) -> None:
    assert not deploy_stack(**budget).of("Budget")
