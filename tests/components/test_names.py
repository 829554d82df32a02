"""The longest names of followers: all that is made for them fits into AWS's limits; one letter more would not."""

from __future__ import annotations

import re

import pulumi
import pytest

from components.aws.names import check_names
from model.problems import SettingsError
from tests.conftest import Deploy
from tests.model.examples import FULL, changed, on_aws

LIMIT = 64
"""Of the names of IAM roles, instance profiles and rules of EventBridge."""
APPENDED = len("-1234567")
"""What Pulumi appends to a name."""
MARKETS = {"on-demand": {}, "spot": {"market": "spot"}}


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(("stack", "profile"), [("sandbox", "t4"), ("gpu-team", "l40s")])
def test_the_longest_name_of_a_follower_fits_and_the_next_one_is_refused(
    deploy_stack: Deploy, stack: str, profile: str, market: str
) -> None:
    follower = {"profile": profile, **MARKETS[market]}
    with pytest.raises(pulumi.RunError, match="AWS ends the name") as refused:
        deploy_stack(stack, followers={"a" * 30: follower})
    (limit,) = re.findall(
        rf"(\d+) characters in the cluster graphistry-{stack}", str(refused.value)
    )
    recorder = deploy_stack(stack, followers={"a" * int(limit): follower})
    lengths = {
        len(each.name) + APPENDED
        for each in recorder
        if each.kind in ("Role", "InstanceProfile", "EventRule") and "a" * int(limit) in each.name
    }
    assert max(lengths) == LIMIT
    with pytest.raises(pulumi.RunError, match="AWS ends the name"):
        deploy_stack(stack, followers={"a" * (int(limit) + 1): follower})


@pytest.mark.parametrize(
    ("market", "fits"), [("on-demand", len("graphistry-") + 30), ("spot", len("graphistry-") + 26)]
)
def test_a_stack_whose_name_alone_is_too_long_is_told_alone(market: str, fits: int) -> None:
    settings = on_aws(changed(FULL, {"followers": {"a": {"profile": "t4", "market": market}}}))
    check_names("g" * fits, settings)
    with pytest.raises(SettingsError) as refused:
        check_names("g" * (fits + 1), settings)
    (problem,) = refused.value.problems
    assert problem.path == "the stack's name"
    assert f"{fits}, because" in problem.allowed
    assert "1 shorter" in problem.hint


@pytest.mark.parametrize("name", ["graphistry-Dev", "graphistry-dev_1"])
def test_a_stack_whose_name_no_bucket_may_have_is_told_before_anything_is_made(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_names(name, on_aws(FULL))
    (problem,) = refused.value.problems
    assert problem.path == "the stack's name"
    assert name in problem.got
    assert "because S3 takes no others" in problem.allowed
