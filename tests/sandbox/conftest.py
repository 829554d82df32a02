"""Providers in this process, a moto, and the resources that others need to exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from moto.moto_api._internal.models import moto_api_backend
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox import daemon
from sandbox.provider import reservations
from sandbox.provider.service import AwsProvider
from tests.sandbox.command_engine import Shown, attached
from tests.sandbox.engine import REGION, Connection, Engine


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty moto. One per module, because moto's mocks in other tests of the process empty it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in daemon.MOTO_SETTINGS.items():
            patch.setenv(name, value)
        moto_api_backend.reset()
        reservations.mend(tmp_path_factory.mktemp("account") / "shortages.json")
        yield daemon.serve_aws()


@pytest.fixture(scope="module")
def provider(endpoint: str) -> AwsProvider:
    return AwsProvider(endpoint)


@pytest.fixture(scope="module")
def engine(provider: AwsProvider, endpoint: str) -> Engine:
    return Engine(provider, endpoint, Connection("plain"))


@pytest.fixture(scope="module")
def world(engine: Engine) -> SimpleNamespace:
    """The resources that others need to exist."""
    vpc = engine.create("aws:ec2/vpc:Vpc", cidrBlock="10.0.0.0/16")
    subnets = [
        engine.create(
            "aws:ec2/subnet:Subnet",
            vpcId=vpc.id,
            cidrBlock=f"10.0.{index}.0/24",
            availabilityZone=f"{REGION}{letter}",
        ).id
        for index, letter in enumerate("ab")
    ]
    groups = [
        engine.create("aws:ec2/securityGroup:SecurityGroup", vpcId=vpc.id, name=name).id
        for name in ("first", "second")
    ]
    assume = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = engine.create("aws:iam/role:Role", name="world", assumeRolePolicy=json.dumps(assume))
    profile = engine.create("aws:iam/instanceProfile:InstanceProfile", name="world", role=role.id)
    image = engine.invoke(
        "aws:ssm/getParameter:getParameter",
        name="/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04"
        "/latest/ami-id",
    )["insecureValue"]
    bucket = engine.create("aws:s3/bucket:Bucket", bucket="world", forceDestroy=True)
    zone = engine.create("aws:route53/zone:Zone", name="world.internal", vpcs=[{"vpcId": vpc.id}])
    rule = engine.create(
        "aws:cloudwatch/eventRule:EventRule", name="world", eventPattern='{"source":["aws.ec2"]}'
    )
    file_system = engine.create("aws:efs/fileSystem:FileSystem", creationToken="world")
    return SimpleNamespace(
        vpc=vpc.id,
        subnets=subnets,
        groups=groups,
        role=role.id,
        role_arn=role.outputs["arn"],
        assume=assume,
        profile=profile.id,
        profile_arn=profile.outputs["arn"],
        image=image,
        bucket=bucket.id,
        zone=zone.id,
        rule=rule.id,
        file_system=file_system.id,
        secret=engine.create("aws:secretsmanager/secret:Secret", name="world").id,
    )


@pytest.fixture
def shown() -> Shown:
    """What the engine was told to show."""
    return Shown()


@pytest.fixture
def commands(shown: Shown) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """A running `command` provider; its local commands see a variable."""
    with attached(shown, {"OF_THE_SANDBOX": "seen"}) as stub:
        yield stub
