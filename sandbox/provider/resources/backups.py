"""Policies of Data Lifecycle Manager, by which AWS takes snapshots of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..aws import Aws, tag_list, tag_map
from ..table import ResourceType, deleted
from ..values import Properties

_SCHEDULE = "policyDetails.schedules"


def _create(aws: Aws, inputs: Properties) -> str:
    answer = aws.request("dlm.create_lifecycle_policy", _asked(inputs))
    return str(answer["PolicyId"])


def _read(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("dlm.get_lifecycle_policy", PolicyId=identifier)["Policy"]
    details = found["PolicyDetails"]
    return {
        **found,
        "arn": found["PolicyArn"],
        "tags": tag_list(found["Tags"]),
        "policyDetails": {
            "resourceTypes": details["ResourceTypes"],
            "targetTags": tag_map(details["TargetTags"]),
            "schedules": [_schedule(each) for each in details["Schedules"]],
        },
    }


def _schedule(told: Mapping[str, Any]) -> Properties:
    create, retain = told["CreateRule"], told["RetainRule"]
    return {
        "name": told["Name"],
        "copyTags": told.get("CopyTags", False),
        "createRule": {
            "interval": create["Interval"],
            "intervalUnit": create["IntervalUnit"],
            "times": create["Times"][0],
        },
        "retainRule": {"interval": retain["Interval"], "intervalUnit": retain["IntervalUnit"]},
    }


def _asked(inputs: Properties) -> Properties:
    """The provider takes one time and AWS a list of them."""
    details = inputs["policyDetails"]
    schedules = [
        {**each, "createRule": {**each["createRule"], "times": [each["createRule"]["times"]]}}
        for each in details["schedules"]
    ]
    return {**inputs, "policyDetails": {**details, "schedules": schedules}}


def _update(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = {name: value for name, value in _asked(inputs).items() if name != "tags"}
    aws.request("dlm.update_lifecycle_policy", wanted, PolicyId=identifier)


def _tag(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    arn = aws.arn("dlm", f"policy/{identifier}")
    if tags:
        aws.call("dlm.tag_resource", ResourceArn=arn, Tags=dict(tags))
    if removed:
        aws.call("dlm.untag_resource", ResourceArn=arn, TagKeys=removed)


TYPES = {
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": ResourceType(
        fixed=f"{_SCHEDULE}.[0].copyTags",
        updates={"description executionRoleArn state policyDetails": _update},
        nested={
            "policyDetails": "resourceTypes targetTags schedules",
            _SCHEDULE: "name copyTags createRule retainRule",
            f"{_SCHEDULE}.createRule": "interval intervalUnit times",
            f"{_SCHEDULE}.retainRule": "interval intervalUnit",
        },
        defaults={"state": "ENABLED"},
        create=_create,
        read=_read,
        delete=deleted("dlm.delete_lifecycle_policy", "PolicyId"),
        tagger=_tag,
    ),
}
