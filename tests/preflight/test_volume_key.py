"""Whether Auto Scaling may use the account's default key for volumes, asked of the stand-in's KMS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.ec2.responses import EC2Response
from moto.kms.responses import KmsResponse

from model.problems import Problem
from preflight.situation import Unanswered
from preflight.volume_key import GRANTED, volume_key
from sandbox.provider import launch_needs
from tests.model.examples import SMALLEST
from tests.preflight.situations import REGION, aws_client, situation

RAW = {**SMALLEST, "followers": {"a": {"profile": "t4"}}}
ROLE = (
    "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/"
    "AWSServiceRoleForAutoScaling"
)
USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("get_ebs_default_kms_key_id", "reset_ebs_default_kms_key_id"):
        monkeypatch.setattr(EC2Response, name, None, raising=False)
    monkeypatch.setattr(KmsResponse, "list_grants", KmsResponse.list_grants)
    launch_needs.mend_keys()
    with mock_aws():
        yield


def customer_key(*statements: dict[str, Any]) -> str:
    """A key of the customer's that is the account's default for volumes; its policy has these statements too."""
    account = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**account, "Action": "kms:*", "Resource": "*"}, *statements],
    }
    kms = aws_client("kms")
    arn: str = kms.create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    aws_client("ec2").modify_ebs_default_kms_key_id(KmsKeyId=arn)
    return arn


def allow(*actions: str, principal: Any = None) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": principal or {"AWS": [ROLE]},
        "Action": list(actions),
        "Resource": "*",
    }


def found(raw: dict[str, Any] = RAW, **other: Any) -> list[Any]:
    return list(volume_key(situation(raw, **other)))


def test_awss_own_key_is_no_problem() -> None:
    assert found() == []


def test_a_leader_alone_is_not_launched_by_auto_scaling() -> None:
    assert found(SMALLEST, client=object()) == []


def test_a_key_of_the_customers_that_auto_scaling_may_not_use_is_a_problem_with_the_command() -> (
    None
):
    """The account's own statement does not count: nobody can give the service-linked role a policy."""
    arn = customer_key()
    (problem,) = found()
    assert isinstance(problem, Problem)
    assert problem.got.startswith(f"{arn}, a key of your own that Auto Scaling may not use")
    assert problem.hint.startswith(
        f"aws kms create-grant --region us-east-1 --key-id {arn} --grantee-principal {ROLE} --operations {GRANTED}"
    )


def test_the_command_is_what_helps() -> None:
    arn = customer_key()
    aws_client("kms").create_grant(KeyId=arn, GranteePrincipal=ROLE, Operations=GRANTED.split())
    assert found() == []


@pytest.mark.parametrize(
    "grant",
    [
        {"GranteePrincipal": ROLE.replace("123456789012", "999999999999")},
        {"Operations": ["Decrypt"]},
        {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
    ],
)
def test_a_grant_for_something_else_does_not_help(grant: dict[str, Any]) -> None:
    arn = customer_key()
    asked = {"KeyId": arn, "GranteePrincipal": ROLE, "Operations": GRANTED.split(), **grant}
    aws_client("kms").create_grant(**asked)
    assert len(found()) == 1


@pytest.mark.parametrize(
    ("statements", "helps"),
    [
        ([allow(*USE), allow("kms:CreateGrant")], True),
        ([allow("kms:*")], True),
        ([allow("kms:*", principal="*")], True),
        ([allow("kms:*", principal={"AWS": "*"})], True),
        ([allow(*USE)], False),
        ([allow("kms:CreateGrant")], False),
        ([{**allow("kms:CreateGrant"), "Effect": "Deny"}], False),
        ([allow("kms:*", principal={"AWS": f"{ROLE}_other"})], False),
    ],
)
def test_statements_of_the_keys_policy_count_together(
    statements: list[dict[str, Any]], *, helps: bool
) -> None:
    customer_key(*statements)
    assert (found() == []) is helps


def test_a_key_that_is_switched_off_is_a_problem() -> None:
    arn = customer_key(allow("kms:*"))
    aws_client("kms").disable_key(KeyId=arn.rpartition("/")[2])
    (problem,) = found()
    assert problem.got == f"{arn}, which is Disabled"


class Denying:
    """A client whose caller may not make some calls."""

    def __init__(self, client: Any, *operations: str) -> None:
        self._client, self._operations = client, operations

    def __getattr__(self, name: str) -> Any:
        if name in self._operations:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, name)
        return getattr(self._client, name)


def test_what_may_not_be_read_is_named_unless_the_rest_answers() -> None:
    def clients(service: str) -> Any:
        return Denying(aws_client(service), "get_key_policy")

    arn = customer_key(allow("kms:*"))
    (unknown,) = found(clients=clients)
    assert isinstance(unknown, Unanswered)
    assert f"kms:GetKeyPolicy on {arn} is missing" in unknown.text
    assert "create-grant" in unknown.text
    aws_client("kms").create_grant(KeyId=arn, GranteePrincipal=ROLE, Operations=GRANTED.split())
    assert found(clients=clients) == []


LOGS = {"Service": f"logs.{REGION}.amazonaws.com"}


def own_key(*statements: dict[str, Any]) -> dict[str, Any]:
    """A stack file that names a key of these statements, which is no account's default."""
    arn = customer_key(*statements)
    boto3.client("ec2", region_name=REGION).reset_ebs_default_kms_key_id()
    return {**RAW, "encryptionKey": arn}


def test_a_key_of_the_stack_file_is_judged_in_place_of_the_default() -> None:
    raw = own_key(allow(*USE, "kms:CreateGrant"), allow("kms:Encrypt*", principal=LOGS))
    assert found(raw) == []


def test_a_key_of_the_stack_file_must_admit_auto_scaling_and_the_logs() -> None:
    raw = own_key()
    scaling, logs = found(raw)
    assert (scaling.path, logs.path) == ("encryptionKey", "encryptionKey")
    assert "create-grant" in str(scaling)
    assert ROLE in str(scaling)
    assert "reset-ebs-default" not in str(scaling)
    assert LOGS["Service"] in str(logs)


def test_the_logs_need_the_key_where_there_are_log_groups() -> None:
    raw = {**own_key(), "followers": {}, "network": {"flowLogs": False}}
    assert found(raw) == []
    (logs,) = found({**raw, "shells": {"logged": True}})
    assert LOGS["Service"] in str(logs)


def test_a_leader_alone_needs_its_key_for_the_logs_only() -> None:
    (logs,) = found({**own_key(), "followers": {}})
    assert LOGS["Service"] in str(logs)


def test_a_key_of_another_region_or_of_none_is_a_problem() -> None:
    raw = own_key()
    (elsewhere,) = found(
        {**raw, "encryptionKey": raw["encryptionKey"].replace(REGION, "eu-west-1")}
    )
    assert f"a key in {REGION}" in str(elsewhere)
    gone = raw["encryptionKey"].rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    (missing,) = found({**raw, "encryptionKey": gone})
    assert "a key that exists" in str(missing)
