"""Part of the check ``references``: whether Auto Scaling may use the key of the disks, and CloudWatch that of the logs.

Without ``encryptionKey`` the launch templates name no key, so each disk gets the account's default, whether or not
the account encrypts by default. Whoever deploys launches the leader; followers are launched by the service-linked role
of Auto Scaling, which has permission for AWS's own key alone (AWS: Required KMS key policy for encrypted volumes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from model.problems import Problem
from model.refusals import DENIED
from model.settings.aws import FollowersOnAws, Settings
from preflight.situation import Finding, Situation, Unanswered, account_id

AWS_MANAGED = "alias/aws/ebs"
DEFAULT, OWN = "the default key of EBS", "encryptionKey"

NEEDED = ("kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:CreateGrant")
"""What a launch does with the key in the role's name; the statement that AWS documents has more."""

GRANTED = (
    "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext "
    "DescribeKey CreateGrant"
)
"""Operations of the grant that AWS documents."""


def volume_key(situation: Situation) -> Iterator[Finding]:
    """A customer's key that the role may not use, or of which no disk can be made; at most six calls."""
    settings = situation.settings
    own = settings.encryption_key
    if not settings.followers and own is None:
        return
    path, instead = DEFAULT, "; or aws ec2 reset-ebs-default-kms-key-id"
    if own is not None:
        path, instead = OWN, ""
        if own.split(":")[3] != situation.region:
            yield Problem(
                path, own, f"a key in {situation.region}", "a key serves its own region alone"
            )
            return
    named = own or situation.client("ec2").get_ebs_default_kms_key_id()["KmsKeyId"]
    if named == AWS_MANAGED:
        return
    try:
        key = situation.client("kms").describe_key(KeyId=named)["KeyMetadata"]
    except ClientError as error:
        if own is None or error.response["Error"]["Code"] != "NotFoundException":
            raise
        yield Problem(
            path, own, "a key that exists", f"aws kms list-keys --region {situation.region}"
        )
        return
    if key["KeyManager"] == "AWS" and own is None:
        return
    arn = str(key["Arn"])
    if key["KeyState"] != "Enabled":
        yield Problem(
            path,
            f"{arn}, which is {key['KeyState']}",
            "a key that is enabled: every disk of the cluster is encrypted with it",
            f"aws kms enable-key --region {situation.region} --key-id {arn}{instead}",
        )
        return
    if settings.followers:
        yield from _use(situation, path, arn, instead)
    if own is not None and _makes_logs(settings):
        yield from _logs(situation, arn)


def _makes_logs(settings: FollowersOnAws) -> bool:
    """Whether the stack makes log groups: of shells, or of the flow logs of a network of its own."""
    if settings.shells.logged:
        return True
    return (
        isinstance(settings, Settings)
        and settings.network.vpc_id is None
        and settings.network.flow_logs
    )


def _logs(situation: Situation, arn: str) -> Iterator[Finding]:
    """Whether CloudWatch may use the key for the flow logs: AWS refuses the log group otherwise."""
    service = f"logs.{situation.region}.amazonaws.com"
    try:
        admitted = any(
            service in _listed(principal.get("Service"))
            for each in _statements(situation, arn)
            if each["Effect"] == "Allow" and isinstance(principal := each.get("Principal"), dict)
        )
    except ClientError as error:
        if not DENIED.search(error.response["Error"]["Code"]):
            raise
        yield Unanswered(
            f"the permission kms:GetKeyPolicy on {arn} is missing, so nobody knows whether {service} may use it"
        )
        return
    if not admitted:
        yield Problem(
            OWN,
            f"{arn}, which CloudWatch Logs may not use: the log groups could not be made",
            f"a statement in the key's policy for the service {service}",
            'the statement of AWS\'s page "Encrypt log data in CloudWatch Logs using AWS KMS"',
        )


def _role(situation: Situation, key_arn: str) -> str:
    """Auto Scaling's service-linked role in the account that the cluster is in, which may not be the key's."""
    partition = key_arn.split(":")[1]
    return (
        f"arn:{partition}:iam::{account_id(situation)}:role/aws-service-role/autoscaling.amazonaws.com/"
        "AWSServiceRoleForAutoScaling"
    )


def _use(situation: Situation, path: str, arn: str, instead: str) -> Iterator[Finding]:
    """The role's use of the key: by a grant, or by the key's policy. One of them that may not be read is named only if
    the other does not answer the question."""
    role, unread = _role(situation, arn), []
    ways: dict[str, Callable[[], bool]] = {
        "kms:ListGrants": lambda: _is_granted(situation, arn, role),
        "kms:GetKeyPolicy": lambda: _policy_admits(situation, arn, role),
    }
    for permission, admits in ways.items():
        try:
            if admits():
                return
        except ClientError as error:
            if not DENIED.search(error.response["Error"]["Code"]):
                raise
            unread.append(permission)
    if unread:
        yield Unanswered(
            f"the permission {' and '.join(unread)} on {arn} is missing, so nobody knows whether Auto Scaling may use "
            f"that key, {path}: {_how_to_grant(situation, arn, role)} makes sure"
        )
        return
    yield Problem(
        path,
        f"{arn}, a key of your own that Auto Scaling may not use: no follower would start",
        f"a grant, or a statement in the key's policy, for {role}",
        f"{_how_to_grant(situation, arn, role)}; or in its policy the statements of AWS's page \"Required AWS KMS key "
        f'policy for use with encrypted volumes"{instead}',
    )


def _how_to_grant(situation: Situation, arn: str, role: str) -> str:
    return (
        f"aws kms create-grant --region {situation.region} --key-id {arn} --grantee-principal {role} "
        f"--operations {GRANTED}"
    )


def _is_granted(situation: Situation, arn: str, role: str) -> bool:
    operations: set[str] = set()
    # Every attached volume has a grant of its own, so only the role's are asked for.
    grants = situation.client("kms").get_paginator("list_grants")
    for page in grants.paginate(KeyId=arn, GranteePrincipal=role):
        for grant in page["Grants"]:
            # A grant with constraints holds for some encryption context alone.
            if not grant.get("Constraints"):
                operations.update(f"kms:{each}" for each in grant["Operations"])
    return all(each in operations for each in NEEDED)


def _policy_admits(situation: Situation, arn: str, role: str) -> bool:
    """Whether the key's policy lets the role use it.

    What it gives the account as a whole is not the role's: that needs a policy of the role, and AWS alone writes those
    of a service-linked role.
    """
    allowed = [
        action
        for each in _statements(situation, arn)
        if each["Effect"] == "Allow" and _is_for(each, role)
        for action in _listed(each.get("Action"))
    ]
    return all(
        any(fnmatchcase(needed.lower(), action.lower()) for action in allowed) for needed in NEEDED
    )


def _statements(situation: Situation, arn: str) -> list[Mapping[str, Any]]:
    answer = situation.client("kms").get_key_policy(KeyId=arn, PolicyName="default")
    statements = json.loads(answer["Policy"])["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _is_for(statement: Mapping[str, Any], role: str) -> bool:
    """Whether a statement names the role, or everybody. Conditions are taken to hold: those that AWS documents do."""
    principal = statement.get("Principal", {})
    named = _listed(principal if isinstance(principal, str) else principal.get("AWS"))
    return role in named or "*" in named


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
