"""What rights say by tags, names and conditions, held against what they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import deployed
from tests.harness import Recorder


def statement(recorder: Recorder, role: str, action: str) -> Mapping[str, Any]:
    """The one statement of a role's own policy that allows *action*."""
    policy = json.loads(recorder["RolePolicy", role].inputs["policy"])
    (found,) = (
        each
        for each in policy["Statement"]
        if action in (each["Action"] if isinstance(each["Action"], list) else [each["Action"]])
    )
    return dict(found)


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_follower_may_have_its_own_group_replace_it_by_the_tags_the_group_has(stack: str) -> None:
    recorder = deployed(stack)
    groups = recorder.of("Group")
    assert groups
    for group in groups:
        role = f"{group.name.removesuffix('-group')}-role"
        allowed = statement(recorder, role, "autoscaling:SetInstanceHealth")
        tags = {tag["key"]: tag["value"] for tag in group.inputs["tags"]}
        assert allowed["Condition"] == {
            "StringEquals": {
                f"autoscaling:ResourceTag/{key}": tags[key]
                for key in ("Name", "graphistry-cluster:cluster")
            }
        }


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_what_switches_a_group_may_tag_what_its_launch_makes_and_nothing_else(stack: str) -> None:
    role = f"graphistry-{stack}-spot-fallback-role"
    assert statement(deployed(stack), role, "ec2:CreateTags") == {
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": "arn:aws:ec2:us-east-1:123456789012:*/*",
        # AWS knows the launch template of RunInstances alone; of CreateTags it knows which call it is part of.
        "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
    }


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_follower_sees_who_else_asks_to_be_replaced_and_writes_its_own_wish_only(
    stack: str,
) -> None:
    recorder = deployed(stack)
    for group in recorder.of("Group"):
        role = f"{group.name.removesuffix('-group')}-role"
        node = recorder["Role", role].inputs["description"].removeprefix("Graphistry node ")
        listing = statement(recorder, role, "s3:ListBucket")
        bucket = listing["Resource"][0]
        assert "/" not in bucket.rpartition(":::")[2]
        assert listing["Condition"] == {"StringLike": {"s3:prefix": ["nodes/*"]}}
        policy = json.loads(recorder["RolePolicy", role].inputs["policy"])
        objects = {each["Sid"]: (each["Action"], each["Resource"]) for each in policy["Statement"]}
        assert objects["WishesForReplacement"] == (
            ["s3:GetObject"],
            [f"{bucket}/nodes/*/replacement.json"],
        )
        assert objects["OwnWishForReplacement"] == (
            ["s3:PutObject"],
            [f"{bucket}/nodes/{node}/replacement.json"],
        )


def hop_limits(recorder: Recorder) -> set[int]:
    machines = [*recorder.of("Instance"), *recorder.of("LaunchTemplate")]
    return {each.inputs["metadataOptions"]["httpPutResponseHopLimit"] for each in machines}


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_container_gets_a_token_of_its_nodes_role_only_where_the_stack_file_says_so(
    stack: str,
) -> None:
    assert hop_limits(deployed(stack)) == {1}
    opened = deployed(stack, instanceMetadata="containers")
    assert hop_limits(opened) == {2}
    for recorder, expected in ((deployed(stack), False), (opened, True)):
        stored = [
            json.loads(each.inputs["content"])
            for each in recorder.of("BucketObjectv2")
            if each.name.endswith("-specification")
        ]
        assert {each["site"]["containersUseRole"] for each in stored} == {expected}


def test_a_leader_lists_nothing_and_asks_for_nothing() -> None:
    policy = deployed("prod")["RolePolicy", "graphistry-prod-leader-role"].inputs["policy"]
    assert "ListBucket" not in policy
    assert "replacement.json" not in policy
