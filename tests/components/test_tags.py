"""How many tags AWS takes: the stack file's own and the program's must fit on everything."""

from __future__ import annotations

import json

import pytest

from model.tags import OWN_TAGS
from tests.conftest import Deploy

LIMITS = {"BucketObjectv2": 10, "Zone": 10}
"""The strictest: objects in S3, and what Route 53 takes in one call. All else takes 50."""


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_as_many_own_tags_as_are_allowed_fit_on_everything_on_aws(
    deploy_stack: Deploy, stack: str
) -> None:
    recorder = deploy_stack(stack, tags={f"own-{number}": "x" for number in range(OWN_TAGS)})
    (provider,) = (each for each in recorder if each.type == "pulumi:providers:aws")
    default = json.loads(provider.inputs["defaultTags"])["tags"]
    assert len(default) > OWN_TAGS
    counts = dict.fromkeys(LIMITS, 0)
    for each in recorder:
        own = each.inputs.get("tags") or {}
        keys = {tag["key"] for tag in own} if isinstance(own, list) else {*own}
        many = len(keys | {*default})
        assert many <= LIMITS.get(each.kind, 50), each.name
        counts[each.kind] = max(counts.get(each.kind, 0), many)
    if stack == "prod":  # and one more would not fit
        assert 10 in [counts[kind] for kind in LIMITS]
