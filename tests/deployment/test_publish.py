"""A release from its archive to the nodes' specification: refused without one, published, fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from model.settings.hosts import ANY_HOST_KEY
from operate.stack.stack_file import named_hosts
from tests.deployment.checkout import Checkout

DEV = ("dev", "--target", "sandbox")


@pytest.fixture
def archive(checkout: Checkout) -> Path:
    """A stand-in for the vendor's archive, written as docs/explanation/sandbox.md says."""
    file = checkout.root / "graphistry.tar.gz"
    shown = checkout.succeed("stand-in", "dev", str(file))
    assert f"./cluster publish dev {file} --target sandbox" in shown
    return file


def releases(checkout: Checkout, stack: str) -> list[dict[str, str]]:
    """The release in every specification of a stack."""
    s3 = checkout.client("s3")
    prefix = f"graphistry-{stack}-documents-"
    (bucket,) = [
        each["Name"] for each in s3.list_buckets()["Buckets"] if each["Name"].startswith(prefix)
    ]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="nodes/")["Contents"]
    keys = [each["Key"] for each in listed if each["Key"].endswith("specification.json")]
    return [
        json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())["release"] for key in keys
    ]


def test_a_rehearsal_is_refused_without_an_archive_and_green_with_one(
    checkout: Checkout, archive: Path
) -> None:
    refused = checkout.operate("up", *DEV)
    assert refused.returncode == 1
    assert "1. release.source" in refused.stdout
    assert "./cluster publish dev --target sandbox FILE" in refused.stdout
    assert "./cluster stand-in dev FILE" in refused.stdout
    assert checkout.account()["vpcs"] == 0
    files = [
        (checkout.root / "stacks" / f"Pulumi.{stack}.yaml") for stack in ("dev", "prod", "gpu-team")
    ]
    before = [file.read_text() for file in files]
    shown = checkout.succeed("publish", *DEV, str(archive))
    assert "is Graphistry 2.50.1 for CUDA 12" in shown
    assert "./cluster preview dev --target sandbox" in shown
    again = checkout.succeed("publish", "prod", str(archive), "--target", "sandbox")
    assert "is there already: s3://graphistry-releases-123456789012-us-east-1/" in again
    for stack in ("dev", "prod", "gpu-team"):
        checkout.succeed("up", stack, "--target", "sandbox")
        for release in releases(checkout, stack):
            assert release["source"].startswith("s3://graphistry-releases-123456789012-us-east-1/")
    assert [file.read_text() for file in files] == before
    checkout.succeed("purge", "dev", "--target", "sandbox", "--name", "dev")
    buckets = [each["Name"] for each in checkout.client("s3").list_buckets()["Buckets"]]
    assert "graphistry-releases-123456789012-us-east-1" in buckets


def test_an_archive_of_another_version_is_refused_before_it_is_uploaded(
    checkout: Checkout, archive: Path
) -> None:
    path = checkout.root / "stacks" / "Pulumi.dev.yaml"
    path.write_text(path.read_text().replace('"2.50.1"', '"2.51.3"'))
    refused = checkout.operate("publish", *DEV, str(archive))
    assert refused.returncode == 1
    assert "the archive is 2.50.1 for CUDA 12" in refused.stdout
    assert "release.version: 2.51.3" in refused.stdout
    assert checkout.client("s3").list_buckets()["Buckets"] == []


def test_followers_of_another_stack_are_refused_before_they_start(checkout: Checkout) -> None:
    """The leader's image has the release, theirs has none."""
    path = checkout.root / "stacks" / "Pulumi.prod.yaml"
    text = path.read_text().split("  graphistry-cluster:image:")
    rest = text[1].partition("  graphistry-cluster:preflight:")
    # The Marketplace's own charge is in no price list, and a budget of what nobody knows is refused.
    unjudged = rest[2].replace("skip: []", "skip: [budget]", 1)
    path.write_text(
        f"{text[0]}  graphistry-cluster:image: {{marketplace: true}}\n{rest[1]}{unjudged}"
    )
    checkout.succeed("up", "prod", "--target", "sandbox")
    refused = checkout.operate("up", "gpu-team", "--target", "sandbox")
    assert refused.returncode == 1
    assert "preinstalled in the stack of the leader" in refused.stdout
    assert "./cluster publish prod --target sandbox FILE" in refused.stdout


def test_a_stack_that_fetches_no_archive_of_its_own_is_told_what_to_do(
    checkout: Checkout, archive: Path
) -> None:
    file = checkout.root / "stacks" / "Pulumi.onprem.yaml"
    content = yaml.safe_load(file.read_text())
    for _, host in named_hosts(content["config"]):
        host["hostKey"] = ANY_HOST_KEY
    file.write_text(yaml.safe_dump(content))
    for stack, target, words in (
        ("onprem", "aws", "release.source: file:/absolute/path"),
        ("gpu-team", "sandbox", "./cluster publish prod --target sandbox FILE"),
    ):
        refused = checkout.operate("publish", stack, str(archive), "--target", target)
        assert refused.returncode == 1
        assert words in refused.stdout
        assert "Traceback" not in refused.stdout


def test_an_account_that_refuses_everything_is_told_by_the_preflight(checkout: Checkout) -> None:
    """And not by the stand-in, which the sandbox's own stacks need first."""
    (checkout.root / ".sandbox").mkdir()
    refusals = checkout.root / ".sandbox" / "refusals.json"
    refusals.write_text('{"sts:GetCallerIdentity": "ExpiredToken"}')
    refused = checkout.operate("preview")
    assert refused.returncode == 1
    assert "the AWS credentials have expired" in refused.stdout
    refusals.unlink()
    assert "to create" in checkout.succeed("preview")
