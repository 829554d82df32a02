"""Recovery finds what there is, by the id that Pulumi knows it by; nothing else, and nobody else's."""

import json
import re

import pytest

from model.tags import CLUSTER_TAG, GIVEN_UP_TAG, ID_TAG
from operate.stack.recover import FINDERS, TAGGED, Aws
from tests.deployment.checkout import Checkout

IDEMPOTENT = {
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:efs/backupPolicy:BackupPolicy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:secretsmanager/secretPolicy:SecretPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/eventTarget:EventTarget",
}
"""Kinds that AWS lets be put again with the same result, so that recovery need not find them."""


class Deployed:
    """The part of a deployment that recovery asks, for another checkout than this one."""

    def __init__(self, checkout: Checkout, *, known: bool) -> None:
        self.cluster = "graphistry-cluster/sandbox"
        self.client = checkout.client
        resources = checkout.resources()
        provider = [each for each in resources if each["type"] == "pulumi:providers:aws"]
        self._known = resources if known else provider

    def add(self, provider: dict[str, object]) -> None:
        """Have another state's provider."""
        self._known = [provider]

    def checkpoint(self) -> dict[str, object]:
        return {"resources": self._known}


@pytest.fixture(scope="module")
def with_spot(deployed: Checkout) -> Checkout:
    followers = {"cheap": {"profile": "t4", "market": "spot"}}
    deployed.change(followers=followers)
    deployed.succeed("up")
    return deployed


def test_every_kind_is_found_or_may_be_made_again(with_spot: Checkout) -> None:
    kinds = {each["type"] for each in with_spot.resources() if each["type"].startswith("aws:")}
    assert kinds == set(TAGGED) | set(FINDERS) | IDEMPOTENT


def test_everything_is_found_by_the_id_that_pulumi_knows_it_by(with_spot: Checkout) -> None:
    aws = Aws(Deployed(with_spot, known=False))  # type: ignore[arg-type] # the part that is asked
    for each in with_spot.resources():
        if each["type"] in TAGGED or each["type"] in FINDERS:
            assert aws.find(each["type"], each["inputs"]) == each["id"], each["urn"]


def test_what_is_in_the_state_already_is_not_found_again(with_spot: Checkout) -> None:
    aws = Aws(Deployed(with_spot, known=True))  # type: ignore[arg-type] # the part that is asked
    for each in with_spot.resources():
        if each["type"] in TAGGED:
            assert aws.find(each["type"], each["inputs"]) is None, each["urn"]


def test_what_another_cluster_made_is_not_found(with_spot: Checkout) -> None:
    stranger = Deployed(with_spot, known=False)
    stranger.cluster = "graphistry-cluster/prod"
    aws = Aws(stranger)  # type: ignore[arg-type] # the part that is asked
    for each in with_spot.resources():
        if each["type"] in TAGGED:
            assert aws.find(each["type"], each["inputs"]) is None, each["urn"]


def test_what_a_colleague_made_of_the_same_name_is_not_found(with_spot: Checkout) -> None:
    by_tags = [*TAGGED, "aws:efs/fileSystem:FileSystem"]
    for colleague in ("", "another-state"):
        provider: dict[str, object] = {"type": "pulumi:providers:aws", "outputs": {}}
        if colleague:
            provider["outputs"] = {"defaultTags": json.dumps({"tags": {ID_TAG: colleague}})}
        deployment = Deployed(with_spot, known=False)
        deployment.add(provider)
        aws = Aws(deployment)  # type: ignore[arg-type] # the part that is asked
        for each in with_spot.resources():
            if each["type"] in by_tags:
                assert aws.find(each["type"], each["inputs"]) is None, each["urn"]


def test_data_that_was_given_up_is_not_found(with_spot: Checkout) -> None:
    tag = {"Key": GIVEN_UP_TAG, "Value": "today"}
    held = {each["type"]: each for each in with_spot.resources()}
    volume, folder = held["aws:ebs/volume:Volume"], held["aws:efs/fileSystem:FileSystem"]
    ec2, efs = with_spot.client("ec2"), with_spot.client("efs")
    ec2.create_tags(Resources=[volume["id"]], Tags=[tag])
    efs.tag_resource(ResourceId=folder["id"], Tags=[tag])
    try:
        aws = Aws(Deployed(with_spot, known=False))  # type: ignore[arg-type] # the part that is asked
        for each in (volume, folder):
            assert aws.find(each["type"], each["inputs"]) is None, each["urn"]
    finally:
        ec2.delete_tags(Resources=[volume["id"]], Tags=[{"Key": GIVEN_UP_TAG}])
        efs.untag_resource(ResourceId=folder["id"], TagKeys=[GIVEN_UP_TAG])


def test_what_was_not_made_is_not_found(with_spot: Checkout) -> None:
    aws = Aws(Deployed(with_spot, known=False))  # type: ignore[arg-type] # the part that is asked
    missing = {"name": "nothing", "bucket": "nothing", "tags": {"Name": "nothing"}}
    gone: dict[str, object] = {
        "vpcs": [],
        "fileSystemId": "fs-00000000",
        "subnetId": "subnet-00000000",
    }
    gone |= {"zoneId": "Z0", "type": "A", "routeTableId": "rtb-0", "volumeId": "vol-0"}
    gone["policyDetails"] = {"targetTags": {"graphistry-cluster:backups": "nothing"}}
    for kind in [*TAGGED, *FINDERS]:
        assert aws.find(kind, {**missing, **gone, "instanceId": "i-0"}) is None, kind


def test_the_tag_that_recovery_looks_for_is_the_one_the_program_sets(with_spot: Checkout) -> None:
    (provider,) = (each for each in with_spot.resources() if each["type"] == "pulumi:providers:aws")
    tags = json.loads(provider["inputs"]["defaultTags"])["tags"]
    assert tags[CLUSTER_TAG] == "graphistry-cluster/sandbox"
    assert re.fullmatch(r"[0-9a-f]{12}", tags[ID_TAG])
