"""Launches that the sandbox's AWS refuses for a key, an address or a subscription."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from preflight.volume_key import GRANTED
from sandbox.lifecycle import Sandbox, start, stop

ROLE = (
    "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/"
    "AWSServiceRoleForAutoScaling"
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("launches")
    yield start(directory)
    stop(directory)


@pytest.fixture(scope="module")
def aws(sandbox: Sandbox) -> Any:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=sandbox.aws_endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    return client


def image(aws: Any) -> str:
    return str(aws("ec2").describe_images()["Images"][0]["ImageId"])


def subnet(aws: Any, name: str, block: str) -> str:
    """A subnet of the default VPC."""
    ec2 = aws("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made: str = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=name)["Subnet"][
        "SubnetId"
    ]
    return made


def group(aws: Any, name: str, *subnets: str) -> None:
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "Encrypted": True}}
    aws("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={
            "ImageId": image(aws),
            "InstanceType": "g4dn.2xlarge",
            "BlockDeviceMappings": [disk],
        },
    )
    aws("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=1,
        MaxSize=1,
        VPCZoneIdentifier=",".join(subnets),
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Default"},
    )


def newest(aws: Any, name: str) -> tuple[str, str]:
    """Status and message of what a group did last."""
    found = aws("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    return found[0]["StatusCode"], found[0]["StatusMessage"]


def test_a_group_launches_nothing_whose_disks_key_its_role_may_not_use(aws: Any) -> None:
    kms, ec2 = aws("kms"), aws("ec2")
    place = subnet(aws, "us-east-1a", "172.31.128.0/24")
    group(aws, "before", place)
    assert newest(aws, "before")[0] == "Successful"
    # moto makes a key for the encrypted disk; AWS's answer is its alias all the same
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    key = kms.create_key()["KeyMetadata"]["Arn"]
    ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == key
    group(aws, "without", place)
    status, message = newest(aws, "without")
    assert (status, message.rpartition(": ")[2]) == ("Failed", "Client error on launch")
    kms.create_grant(KeyId=key, GranteePrincipal=ROLE, Operations=GRANTED.split())
    group(aws, "granted", place)
    assert newest(aws, "granted")[0] == "Successful"
    ec2.reset_ebs_default_kms_key_id()
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"


def test_grants_are_those_of_the_principal_that_is_asked_for(aws: Any) -> None:
    kms = aws("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    other = ROLE.replace("AutoScaling", "EC2Spot")
    for principal in (ROLE, other):
        kms.create_grant(KeyId=key, GranteePrincipal=principal, Operations=["Decrypt"])
    assert len(kms.list_grants(KeyId=key)["Grants"]) == 2
    (grant,) = kms.list_grants(KeyId=key, GranteePrincipal=other)["Grants"]
    assert grant["GranteePrincipal"] == other


def test_a_full_subnet_takes_no_machine_and_its_group_goes_on(aws: Any) -> None:
    ec2 = aws("ec2")
    full = subnet(aws, "us-east-1a", "172.31.129.0/28")
    other = subnet(aws, "us-east-1b", "172.31.129.16/28")
    for _ in range(11):
        ec2.create_network_interface(SubnetId=full)
    assert ec2.describe_subnets(SubnetIds=[full])["Subnets"][0]["AvailableIpAddressCount"] == 0
    with pytest.raises(ClientError, match="InsufficientFreeAddressesInSubnet"):
        ec2.create_network_interface(SubnetId=full)
    group(aws, "full", full, other)
    status, message = newest(aws, "full")
    assert status == "Failed"
    assert message.startswith(f"There are not enough free addresses in subnet '{full}'")


def test_an_image_without_a_subscription_is_launched_by_nobody(sandbox: Sandbox, aws: Any) -> None:
    ec2, name = aws("ec2"), image(aws)
    asked = {"ImageId": name, "InstanceType": "g4dn.2xlarge", "MinCount": 1, "MaxCount": 1}
    file = sandbox.directory / "subscriptions.json"
    file.write_text(json.dumps([name]))
    for dry in (True, False):
        with pytest.raises(ClientError, match="OptInRequired"):
            ec2.run_instances(**asked, DryRun=dry)
    file.unlink()
    with pytest.raises(ClientError, match="DryRunOperation"):
        ec2.run_instances(**asked, DryRun=True)
