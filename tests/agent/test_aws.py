"""The agent's own AWS calls, against moto, which checks shapes though not signatures."""

from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import create_loader

from agent import bootstrap
from agent.folders import efs
from agent.sites import aws
from agent.specification import Efs

from .conftest import BUCKET, MACHINE, REGION, Machine


@pytest.fixture
def session(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> aws.Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", machine.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setattr(
        bootstrap, "METADATA", machine.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    )
    return aws.Aws(REGION)


def client(machine: Machine, service: str) -> object:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=machine.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def test_an_unchanged_object_is_not_fetched_again(session: aws.Aws) -> None:
    bucket = aws.Bucket(session, BUCKET)
    bucket.put("a key/with+signs", b"one")
    found = bucket.get_if_changed("a key/with+signs", None)
    assert found is not None
    content, tag = found
    assert content == b"one"
    assert bucket.get_if_changed("a key/with+signs", tag) is None
    bucket.put("a key/with+signs", b"two")
    assert bucket.get_if_changed("a key/with+signs", tag) is not None
    assert session.clock_seconds is not None
    assert abs(session.clock_seconds) < 5


def test_a_part_of_an_object_is_read(session: aws.Aws) -> None:
    aws.Bucket(session, BUCKET).put("release", b"0123456789")
    with aws.open_object(session, BUCKET, "release", "bytes=7-8") as answer:
        assert (answer.status, answer.read()) == (206, b"78")
        assert answer.headers["Content-Range"] == "bytes 7-8/10"
        assert answer.headers["ETag"]


def test_a_bucket_of_another_region_tells_it_once(
    session: aws.Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def answer(*_: Any, region: str | None, **__: Any) -> str:
        asked.append(region)
        if region == "eu-west-1":
            return "the bytes"
        headers = Message()
        headers["x-amz-bucket-region"] = "eu-west-1"
        cause = HTTPError("https://s3", 301, "Moved Permanently", headers, None)
        raise aws.AwsError("PermanentRedirect", "elsewhere") from cause

    monkeypatch.setattr(session, "open", answer)
    for span in ("bytes=0-9", "bytes=10-19"):
        found: Any = aws.open_object(session, "elsewhere", "release", span)
        assert found == "the bytes"
    assert asked == [REGION, "eu-west-1", "eu-west-1"]


def test_a_missing_object_is_told_in_words_of_aws(session: aws.Aws) -> None:
    with pytest.raises(aws.AwsError, match="NoSuchKey") as raised:
        aws.Bucket(session, BUCKET).get("missing")
    assert raised.value.code == "NoSuchKey"


def test_a_secret_is_empty_then_has_its_text(session: aws.Aws, machine: Machine) -> None:
    arn = client(machine, "secretsmanager").create_secret(Name="cluster")["ARN"]  # type: ignore[attr-defined]
    secret = aws.Secret(session, arn)
    assert secret.get() is None
    secret.put('{"schemaVersion":1}', "0" * 32)
    assert secret.get() == '{"schemaVersion":1}'


def test_the_machine_knows_itself(session: aws.Aws) -> None:
    assert aws.instance() == {
        "id": MACHINE["instance-id"],
        "type": MACHINE["instance-type"],
        "zone": MACHINE["availability-zone"],
        "address": MACHINE["local-ipv4"],
    }


def test_an_instance_is_marked_as_unhealthy(session: aws.Aws, machine: Machine) -> None:
    groups: Any = client(machine, "autoscaling")
    groups.create_launch_configuration(
        LaunchConfigurationName="small", ImageId="ami-12c6146b", InstanceType="t2.micro"
    )
    groups.create_auto_scaling_group(
        AutoScalingGroupName="small",
        LaunchConfigurationName="small",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
    )

    def members() -> list[dict[str, Any]]:
        groups_now = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
        found: list[dict[str, Any]] = groups_now[0]["Instances"]
        return found

    aws.mark_unhealthy(session, members()[0]["InstanceId"])
    assert members()[0]["HealthStatus"] == "Unhealthy"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}', "AccessDeniedException", "no"),
        ("<Error><Code>RequestTimeTooSkewed</Code><Message>late</Message></Error>", "RequestTimeTooSkewed", "late"),
        ("<html>", "403", "Forbidden"),
    ],
)  # fmt: skip
def test_refusals_of_all_protocols_are_understood(body: str, code: str, message: str) -> None:
    error = HTTPError("http://x", 403, "Forbidden", Message(), BytesIO(body.encode()))
    found = aws._refusal(error)
    assert (found.code, str(found)) == (code, f"{code}: {message}")


@pytest.mark.parametrize(
    ("service", "method", "url", "extra"),
    [
        ("s3", "GET", "https://b.s3.us-east-1.amazonaws.com/a%20key/x", {}),
        ("s3", "GET", "https://b.s3.us-east-1.amazonaws.com/"
         "?continuation-token=a%2Bb%2Fc%3D&list-type=2&prefix=nodes%2F", {}),
        ("secretsmanager", "POST", "https://secretsmanager.us-east-1.amazonaws.com/",
         {"x-amz-target": "secretsmanager.GetSecretValue", "content-type": "application/x-amz-json-1.1"}),
    ],
)  # fmt: skip
def test_the_signature_is_the_one_that_amazon_own_library_makes(
    service: str, method: str, url: str, extra: dict[str, str]
) -> None:
    role = {"AccessKeyId": "AKIA", "SecretAccessKey": "secret", "Token": "session"}
    body = b"{}" if method == "POST" else b""
    ours = bootstrap.signed(f"us-east-1/{service}", method, url, body, role, extra)
    request = AWSRequest(method, url, data=body)
    for name, value in ours.items():
        if name.startswith("x-amz-") or (name == "content-type" and extra):
            request.headers[name] = value
    request.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIA", "secret", "session"), service, "us-east-1")
    canonical = signer.canonical_request(request)
    if service == "s3":
        # The library's signer for S3 does not quote a path twice; this one of its signers does.
        canonical = canonical.replace("%2520", "%20")
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["authorization"].endswith(f"Signature={signature}")


def test_names_of_services_are_those_of_the_regions_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """botocore's data is the judge."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    judged = 0
    for partition in create_loader().load_data("partitions")["partitions"]:
        suffix = partition["outputs"]["dnsSuffix"]
        for region in partition["regions"]:
            if region.endswith("-global"):
                continue
            assert bootstrap.domain(region) == suffix, region
            assert (
                aws.Aws(region).endpoint("autoscaling") == f"https://autoscaling.{region}.{suffix}"
            )
            assert bootstrap.object_url(region, "b", "k") == f"https://b.s3.{region}.{suffix}/k"
            share = Efs("/mnt", "fs-0", region, {}, None)
            assert efs._name(share) == f"fs-0.efs.{region}.{suffix}"
            judged += 1
    assert judged > 30


def test_no_other_place_of_the_agent_names_the_domain() -> None:
    """Nor of what a new machine is given."""
    files = Path(bootstrap.__file__).parent.rglob("*.py")
    assert [each.name for each in files if "amazonaws" in each.read_text()] == ["bootstrap.py"]
