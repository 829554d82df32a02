"""A key of the customer's own, and logged shells, with the real engine."""

import json

from tests.deployment.checkout import Checkout

ACCOUNT = "arn:aws:iam::123456789012:root"


def own_key(checkout: Checkout) -> str:
    """A key that the account and CloudWatch may use."""
    principals = ({"AWS": ACCOUNT}, {"Service": "logs.us-east-1.amazonaws.com"})
    statements = [
        {"Effect": "Allow", "Principal": each, "Action": "kms:*", "Resource": "*"}
        for each in principals
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn: str = checkout.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
    return arn


def test_a_key_is_of_all_data_and_no_other_takes_its_place(checkout: Checkout) -> None:
    checkout.change(followers={})
    checkout.succeed("preview")  # starts the sandbox, in which the key is
    key = own_key(checkout)
    checkout.change(encryptionKey=key, shells={"logged": True})
    checkout.succeed("up")
    assert checkout.plan("--refresh") == {}
    volumes = checkout.client("ec2").describe_volumes()["Volumes"]
    assert {each["KmsKeyId"] for each in volumes} == {key}
    (folder,) = checkout.client("efs").describe_file_systems()["FileSystems"]
    assert folder["KmsKeyId"] == key
    (document,) = checkout.client("ssm").list_documents(
        Filters=[{"Key": "Owner", "Values": ["Self"]}]
    )["DocumentIdentifiers"]
    assert document["DocumentType"] == "Session"
    before = checkout.account()
    checkout.change(encryptionKey=own_key(checkout))
    refused = checkout.operate("up")
    assert refused.returncode != 0
    assert "data keep the key that they were made with" in refused.stdout
    assert checkout.account() == before
    assert checkout.client("efs").describe_file_systems()["FileSystems"][0]["KmsKeyId"] == key
