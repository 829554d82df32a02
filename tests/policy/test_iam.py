"""Judges of IAM policies that share no assumption with this project, over what every stack file would make."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.harness import Registration
from tests.policy import callers
from tests.policy.authorization_reference import misfits
from tests.policy.changes import Change, registrations, statement
from tests.policy.documents import VARIANTS, Policy, listed, policies, variant
from tests.policy.iam_judges import findings, reasons

SSM = "arn:aws:ssm:us-east-1:123456789012:"

UNFIT: list[tuple[str, str, Change, str]] = [
    (
        "RolePolicy",
        "spot-fallback",
        statement(Resource=[f"{SSM}automation-definition/one:$DEFAULT"]),
        "ssm:StartAutomationExecution requires a resource of type document",
    ),
    (
        "RolePolicy",
        "spot-fallback",
        statement(Resource=[f"{SSM}document/one"]),
        "ssm:StartAutomationExecution requires a resource of type automation-execution",
    ),
    (
        "RolePolicy",
        "spot-fallback",
        statement(
            Action="ec2:CreateTags",
            Resource="arn:aws:ec2:us-east-1:123456789012:*/*",
            Condition={"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:us-east-1:123456789012:*"}},
        ),
        "ec2:CreateTags knows no condition ec2:LaunchTemplate",
    ),
    (
        "RolePolicy",
        "ingest",
        statement(
            Action="autoscaling:SetInstanceHealth",
            Resource="*",
            Condition={"StringEquals": {"autoscaling:MaxSize": "1"}},
        ),
        "autoscaling:SetInstanceHealth knows no condition autoscaling:MaxSize of the type autoScalingGroup",
    ),
    (
        "RolePolicy",
        "leader",
        statement(Resource="arn:aws:s3:::bucket"),
        "s3:GetObject has no resource arn:aws:s3:::bucket",
    ),
    (
        "RolePolicy",
        "leader",
        statement(Action="s3:FetchObject", Resource="*"),
        "s3:FetchObject is no action of AWS",
    ),
    (
        "RolePolicy",
        "ingest",
        statement(Action="ec2:RunInstances", Resource="*"),
        "ec2:RunInstances depends on iam:PassRole",
    ),
    (
        "BucketPolicy",
        "documents",
        statement(Condition={"Bool": {"s3:SecureTransport": "false"}}),
        "s3:SecureTransport is no condition of every action",
    ),
]
"""What the reference must find in the production stack: kind and name, the statement that is added, what is said."""

RISKY: list[tuple[str, Change, str]] = [
    (
        "leader",
        statement(Action="iam:CreateAccessKey", Resource="*"),
        "allows_privilege_escalation",
    ),
    (
        "leader",
        statement(Action="ssm:GetParameter", Resource="*"),
        "allows_data_exfiltration_actions",
    ),
    ("leader", statement(Action="sts:GetSessionToken", Resource="*"), "credentials_exposure"),
    (
        "leader",
        statement(Action="iam:PutRolePolicy", Resource="*"),
        "permissions_management_without_constraints",
    ),
    ("leader", statement(Action="s3:*", Resource="*"), "service_wildcard"),
    ("leader", statement(Action="s3:PutObject", Resource="*"), "infrastructure_modification"),
    ("leader", statement(Resource="arn:aws:s3:::bucket"), "RESOURCE_MISMATCH"),
    (
        "leader",
        statement(Condition={"StringEquals": {"s3:prefix": "nodes/"}}),
        "UNKNOWN_CONDITION_FOR_ACTION",
    ),
]
"""What parliament and cloudsplaining must find: the node whose policy has a statement more, and the check."""


def changed(kind: str, name: str, change: Change) -> Sequence[Registration]:
    """The production stack with a change of one resource."""
    made = list(registrations("prod"))
    start = f"graphistry-prod-{name}"
    chosen = next(each for each in made if each.kind == kind and each.name.startswith(start))
    made[made.index(chosen)] = change(chosen)
    return made


@functools.cache
def judged(name: str) -> tuple[Policy, ...]:
    return tuple(policies(variant(name)))


@pytest.mark.parametrize("name", VARIANTS)
def test_aws_understands_and_grants_every_statement(name: str) -> None:
    assert not list(misfits(judged(name)))


@pytest.mark.parametrize(("kind", "name", "change", "said"), UNFIT)
def test_the_reference_finds_what_aws_would_deny(
    kind: str, name: str, change: Change, said: str
) -> None:
    found = list(misfits(list(policies(changed(kind, name, change)))))
    assert any(said in each for each in found), found


@pytest.mark.parametrize("name", VARIANTS)
def test_no_judge_finds_anything_without_a_reason(name: str) -> None:
    found = sorted(set(findings(judged(name))))
    known = reasons()
    assert not [str(each) for each in found if not any(why.covers(each) for why in known)]


def test_every_reason_is_needed() -> None:
    found = {each for name in VARIANTS for each in findings(judged(name))}
    assert not [why for why in reasons() if not any(why.covers(each) for each in found)]


@pytest.mark.parametrize(("name", "change", "check"), RISKY)
def test_the_judges_find_what_is_risky(name: str, change: Change, check: str) -> None:
    before = set(findings(list(policies(registrations("prod")))))
    after = set(findings(list(policies(changed("RolePolicy", name, change)))))
    assert check in {each.check for each in after - before}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_role_may_do_what_is_called_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    also = callers.OWN_KEY | callers.LOGGED_SHELLS if name == "own key and logged shells" else ()
    wanted = callers.needed(callers.agent_calls(monkeypatch), also)
    allowed: dict[str, set[str]] = {}
    for policy in judged(name):
        if policy.role:
            actions = {action for each in policy.statements for action in listed(each["Action"])}
            allowed.setdefault(policy.role, set()).update(actions)
    assert allowed
    assert allowed == {role: wanted[purpose(role)] for role in allowed}


def purpose(role: str) -> str:
    """What a role is for, by its name."""
    for end, kind in (
        ("-leader-role", "leader"),
        ("-leader-backups-role", "backups"),
        ("-spot-fallback-role", "spot fallback"),
        ("-flow-logs", "flow logs"),
    ):
        if role.endswith(end):
            return kind
    return "follower"


def test_every_request_that_the_agent_signs_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = callers.agent_calls(monkeypatch)
    assert not list(callers.unrecorded(recording))
    forgotten = replace(recording, functions=recording.functions - {"sites/aws.py:Secret.put"})
    assert list(callers.unrecorded(forgotten)) == ["agent/sites/aws.py: Secret.put"]
