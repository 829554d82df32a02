"""Recovery finds what there is, by the id that Pulumi knows it by; nothing else, and nobody else's."""

import json

import pytest

from model.tags import CLUSTER_TAG
from operate.recover import FINDERS, TAGGED, Aws
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
        self._known = checkout.resources() if known else []

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


def test_what_was_not_made_is_not_found(with_spot: Checkout) -> None:
    aws = Aws(Deployed(with_spot, known=False))  # type: ignore[arg-type] # the part that is asked
    missing = {"name": "nothing", "bucket": "nothing", "tags": {"Name": "nothing"}}
    gone = {"vpcs": [], "fileSystemId": "fs-00000000", "subnetId": "subnet-00000000"}
    gone |= {"zoneId": "Z0", "type": "A", "routeTableId": "rtb-0", "volumeId": "vol-0"}
    for kind in [*TAGGED, *FINDERS]:
        assert aws.find(kind, {**missing, **gone, "instanceId": "i-0"}) is None, kind


def test_the_tag_that_recovery_looks_for_is_the_one_the_program_sets(with_spot: Checkout) -> None:
    (provider,) = (each for each in with_spot.resources() if each["type"] == "pulumi:providers:aws")
    tags = json.loads(provider["inputs"]["defaultTags"])["tags"]
    assert tags[CLUSTER_TAG] == "graphistry-cluster/sandbox"
