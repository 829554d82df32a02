"""What the provider sends is held against botocore's models, which moto and botocore do not enforce."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.client import BaseClient

from sandbox.provider.api_values import problems
from sandbox.provider.values import RefusalError
from tests.sandbox.engine import Engine

SESSION = botocore.session.get_session()


def said_of(service: str, name: str, **parameters: Any) -> list[str]:
    return problems(parameters, SESSION.get_service_model(service).operation_model(name))


@pytest.mark.parametrize(
    ("service", "name", "parameters", "said"),
    [
        (
            "ec2",
            "CreateVolume",
            {"AvailabilityZone": "us-east-1a", "VolumeType": "gp4"},
            "CreateVolume: VolumeType is 'gp4'; AWS takes standard, io1,",
        ),
        ("iam", "GetRole", {"RoleName": "a b"}, r"GetRole: RoleName does not match [\w+=,.@-]+"),
        ("iam", "GetRole", {"RoleName": "a" * 65}, "is 65 characters; AWS takes 64 or less"),
        ("iam", "CreateRole", {"RoleName": "a"}, "AssumeRolePolicyDocument is required"),
        (
            "iam",
            "TagRole",
            {"RoleName": "a", "Tags": [{"Key": "", "Value": "b"}]},
            "TagRole: Tags[0].Key is 0 characters; AWS takes 1 or more",
        ),
        (
            "iam",
            "TagRole",
            {"RoleName": "a", "Tags": [{"Key": "a", "Value": "b!"}]},
            r"TagRole: Tags[0].Value does not match [\p{L}",
        ),
        (
            "iam",
            "TagRole",
            {"RoleName": "a", "Tags": [{"Key": str(each), "Value": ""} for each in range(51)]},
            "TagRole: Tags is 51 items; AWS takes 50 or less",
        ),
        (
            "secretsmanager",
            "PutSecretValue",
            {"SecretId": "one", "SecretString": ""},
            "SecretString is 0 characters",
        ),
        (
            "autoscaling",
            "SetInstanceHealth",
            {"InstanceId": "i-1", "HealthStatus": "\x00"},
            "HealthStatus does not match",
        ),
        (
            "logs",
            "CreateLogGroup",
            {"logGroupName": "a", "tags": {"a!": "b"}},
            "CreateLogGroup: tags key does not match",
        ),
    ],
)
def test_what_aws_does_not_take_is_named(
    service: str, name: str, parameters: dict[str, Any], said: str
) -> None:
    found = said_of(service, name, **parameters)
    assert any(said in each for each in found), found


def test_what_aws_takes_is_not_refused() -> None:
    tags = [{"Key": "Straße/日本", "Value": "a b.c:d@e"}]
    assert not said_of("iam", "TagRole", RoleName="a+b=c,d.e@f-g", Tags=tags)
    health = {"InstanceId": "i-1", "HealthStatus": "Unhealthy"}
    assert not said_of("autoscaling", "SetInstanceHealth", **health)


def test_a_secret_that_does_not_fit_is_not_shown() -> None:
    (said,) = said_of("iam", "ChangePassword", OldPassword="\x00canary", NewPassword="canary")
    assert "canary" not in said


def test_a_wrong_value_does_not_get_as_far_as_aws(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    # Without what judges the requests of all tests (tests/conftest.py): the provider itself refuses it.
    unjudged = BaseClient._make_api_call.__wrapped__
    monkeypatch.setattr(BaseClient, "_make_api_call", unjudged)
    with pytest.raises(RefusalError, match="CreateVolume: VolumeType is 'gp4'"):
        engine.aws.call("ec2.create_volume", AvailabilityZone="us-east-1a", VolumeType="gp4")
    assert not engine.aws.pages("ec2.describe_volumes", "Volumes")
