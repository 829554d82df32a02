"""What AWS refused is told again at the end of a deployment, with what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.refusals import REASONS
from operate.stack.aws_errors import LEADERS, refused

RESERVATION = "aws:ec2/capacityReservation:CapacityReservation"


def event(
    message: str, *, kind: str = RESERVATION, severity: str = "error", name: str = "leader"
) -> dict[str, Any]:
    urn = f"urn:pulumi:prod::graphistry-cluster::graphistry:cluster:LeaderNode${kind}::{name}"
    return {
        "sequence": 7,
        "diagnosticEvent": {"urn": urn, "message": message, "severity": severity},
    }


def told(folder: Path, *events: dict[str, Any], end: str = "") -> list[str]:
    file = folder / "events"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in events) + end)
    return list(refused(file))


HINTS = {**{each.code: each.hint for each in REASONS if not each.generic}, **LEADERS}
DENIES = "UnauthorizedOperation"


@pytest.mark.parametrize("code", sorted(HINTS.keys() - {DENIES}))
def test_a_refusal_is_told_with_what_to_do(tmp_path: Path, code: str) -> None:
    said = f"1 error occurred: * creating it: operation error EC2, api error {code}: no."
    assert told(tmp_path, event(said)) == [f"leader: {code}: {HINTS[code]}"]


@pytest.mark.parametrize(
    ("said", "told_as"),
    [
        (
            "api error AccessDenied: User: arn:aws:iam::1:user/me is not authorized to perform: iam:CreateRole on",
            "AccessDenied: whoever deploys lacks iam:CreateRole: ",
        ),
        (
            "api error AccessDeniedException: not authorized to perform: elasticfilesystem:CreateFileSystem",
            "AccessDeniedException: whoever deploys lacks elasticfilesystem:CreateFileSystem: ",
        ),
        (
            "api error UnauthorizedOperation: You are not authorized. Encoded message: eNqr",
            "UnauthorizedOperation: whoever deploys lacks the right to this call: ",
        ),
    ],
)
def test_a_denied_call_is_told_with_the_right_that_lacks(
    tmp_path: Path, said: str, told_as: str
) -> None:
    (found,) = told(tmp_path, event(said))
    assert found.startswith(f"leader: {told_as}")


def test_a_resource_is_told_once(tmp_path: Path) -> None:
    """Pulumi says it twice: as it happens, and at the end of the resource."""
    said = event("api error InsufficientInstanceCapacity: no")
    assert len(told(tmp_path, said, said)) == 1


def test_a_reason_is_told_once_for_all_that_it_stopped(tmp_path: Path) -> None:
    said = "api error AddressLimitExceeded: The maximum number of addresses has been reached."
    first, second = (event(said, name=each) for each in ("nat-a", "nat-b"))
    other = event("api error VpcLimitExceeded: no", name="vpc")
    assert [line.partition(" ")[0::2] for line in told(tmp_path, first, other, second)] == [
        ("nat-a,", f"nat-b: AddressLimitExceeded: {HINTS['AddressLimitExceeded']}"),
        ("vpc:", f"VpcLimitExceeded: {HINTS['VpcLimitExceeded']}"),
    ]


@pytest.mark.parametrize(
    "quiet",
    [
        event("api error DependencyViolation: it is in use"),
        event("AccessDenied, tried again", severity="warning"),
        event("a node failed: AccessDenied", kind="command:local:Command"),
        {"sequence": 1, "preludeEvent": {"config": {}}},
        {"sequence": 1, "diagnosticEvent": {"message": "AccessDenied", "severity": "error"}},
    ],
    ids=["unknown code", "warning", "a node's own error", "another event", "no resource"],
)
def test_what_is_none_is_not_told(tmp_path: Path, quiet: dict[str, Any]) -> None:
    assert told(tmp_path, quiet) == []


def test_a_log_that_is_cut_or_missing_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    assert list(refused(tmp_path / "missing")) == []
    said = event("api error VcpuLimitExceeded: no")
    assert len(told(tmp_path, said, end='{"sequence": 8, "diagn')) == 1
