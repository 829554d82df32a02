"""Rules on permissions: no wildcard that is not in a list of this file, each with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.aws.node_role import SYSTEMS_MANAGER_ACTIONS
from tests.harness import Registration
from tests.policy.documents import condition_keys, listed


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A wildcard in the resources of a right, and why it is there."""

    action: str
    """The one action it holds for."""

    resource: str
    """Regular expression of the whole resource."""

    reason: str
    """Why nothing narrower will do."""

    conditions: frozenset[str] = frozenset()
    """Keys of the conditions by which AWS narrows it, all of which the statement must have."""


ARN = r"arn:aws:[\w-]+:[\w-]*:\d*:"

ALLOWANCES = (
    Allowance(
        action="s3:GetObject",
        resource=r"arn:aws:s3:::[\w-]+-documents/agent/\*",
        reason="a machine that boots during an update still fetches the archive that its specification names",
    ),
    Allowance(
        action="s3:GetObject",
        resource=r"arn:aws:s3:::[\w-]+-documents/nodes/\*/replacement\.json",
        reason="a follower asks for another machine only if not too many others do, whoever they will be",
    ),
    Allowance(
        action="autoscaling:SetInstanceHealth",
        resource=ARN + r"autoScalingGroup:\*",
        conditions=frozenset({"autoscaling:ResourceTag/graphistry-cluster:cluster"}),
        reason="the group has a machine's role in its launch template, so its ARN is not known before; its tags are",
    ),
    Allowance(
        action="ssm:StartAutomationExecution",
        resource=ARN + r"automation-execution/\*",
        reason="AWS makes up the execution's id, and requires it beside the one document",
    ),
    Allowance(
        action="autoscaling:UpdateAutoScalingGroup",
        resource=ARN + r"autoScalingGroup:\*:autoScalingGroupName/[\w-]+-\*",
        reason="AWS makes up a part of each group's ARN; the groups' names begin with the cluster's",
    ),
    Allowance(
        action="iam:PassRole",
        resource=ARN + r"role/graphistry-cluster/[\w-]+/(?:[\w-]+/)?\*",
        reason="a group is switched with its machine's role; the nodes' roles, and no others, are below this path",
    ),
    Allowance(
        action="ec2:RunInstances",
        resource=r"\*",
        conditions=frozenset({"ec2:LaunchTemplate"}),
        reason="Auto Scaling asks it of whoever changes a group with a launch template; only by the account's own ones",
    ),
    Allowance(
        action="ec2:CreateTags",
        resource=ARN + r"\*/\*",
        conditions=frozenset({"ec2:CreateAction"}),
        reason="as ec2:RunInstances, for the tags that the template gives; only in the call that makes what is tagged",
    ),
    *(
        Allowance(
            action=f"ec2:{action}",
            resource=r"arn:aws:ec2:[\w-]*::snapshot/\*",
            reason="the id of a snapshot is not known before there is one",
        )
        for action in ("CreateSnapshot", "CreateTags")
    ),
    Allowance(
        action="ec2:DeleteSnapshot",
        resource=r"arn:aws:ec2:[\w-]*::snapshot/\*",
        conditions=frozenset({"aws:ResourceTag/graphistry-cluster:id"}),
        reason="as ec2:CreateSnapshot; only those that carry the id of this cluster's state",
    ),
    *(
        Allowance(
            action=f"ec2:Describe{what}",
            resource=r"\*",
            reason="Data Lifecycle Manager looks for volumes and snapshots; AWS narrows what is read to no resource",
        )
        for what in ("Instances", "Snapshots", "Volumes")
    ),
    *(
        Allowance(
            action=f"logs:{action}",
            resource=ARN + r"log-group:[\w-]+-flow-logs:\*",
            reason="the streams of one log group, whose names AWS makes up",
        )
        for action in ("CreateLogStream", "PutLogEvents", "DescribeLogStreams")
    ),
    *(
        Allowance(
            action=action,
            resource=r"\*",
            reason="Run Command and sessions, the way to a node that has no open port; AWS knows no resources of them",
        )
        for action in SYSTEMS_MANAGER_ACTIONS
    ),
)


def broad_rights(registrations: Sequence[Registration]) -> Iterator[str]:
    """No policy allows a wildcard of actions, a wildcard of resources beside the allowances, or "all but"."""
    for name, statement in _allowing(registrations):
        for key in {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
            yield f"{name}: {key} allows whatever it does not name"
        for action in listed(statement.get("Action")):
            if "*" in action:
                yield f"{name}: allows {action}"
    for name, action, resource, statement in wildcards(registrations):
        if allowance(action, resource, statement) is None:
            yield f"{name}: allows {action} on {resource}"
    for each in registrations:
        if each.kind == "RolePolicyAttachment" or each.inputs.get("managedPolicyArns"):
            yield f"{each.name}: has a policy that somebody else may change"


def foreign_principals(registrations: Sequence[Registration]) -> Iterator[str]:
    """Roles are taken by AWS's services only, and nothing is allowed to everybody."""
    for name, statement in _allowing(registrations):
        principal = statement.get("Principal", {})
        if principal == "*" or "*" in listed(principal.get("AWS")):
            yield f"{name}: allows everybody"
        if statement["Action"] == "sts:AssumeRole" and set(principal) != {"Service"}:
            yield f"{name}: may be taken by {principal}"
        if "AWS" in principal and "aws:PrincipalArn" not in condition_keys(statement):
            yield f"{name}: allows a whole account"


def allowance(action: str, resource: str, statement: Mapping[str, Any]) -> Allowance | None:
    """The allowance for a wildcard in a statement, if there is one."""
    for each in ALLOWANCES:
        if (
            each.action == action
            and re.fullmatch(each.resource, resource)
            and each.conditions <= condition_keys(statement)
        ):
            return each
    return None


def wildcards(
    registrations: Sequence[Registration],
) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Every wildcard of resources: name of the policy, action, resource, statement."""
    for name, statement in _allowing(registrations):
        for action in listed(statement.get("Action")):
            for resource in listed(statement.get("Resource")):
                if "*" in resource:
                    yield name, action, resource, statement


def _allowing(registrations: Sequence[Registration]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for each in registrations:
        for key in ("policy", "assumeRolePolicy"):
            if each.type.startswith("aws:") and key in each.inputs:
                for statement in json.loads(each.inputs[key])["Statement"]:
                    if statement["Effect"] == "Allow":
                        yield each.name, statement
