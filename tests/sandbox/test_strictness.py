"""What the stand-in does not model it refuses, and it says what to do instead."""

from __future__ import annotations

from types import SimpleNamespace as World
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from sandbox.provider import checks, moto_gaps, schema
from sandbox.provider.resources import TYPES
from sandbox.provider.values import UNKNOWN, to_wire
from tests.sandbox.engine import Connection, Engine, RefusedError, urn

VPC = "aws:ec2/vpc:Vpc"
INSTANCE = "aws:ec2/instance:Instance"
GROUP = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


@pytest.mark.parametrize(
    ("token", "inputs", "path", "reason"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "x"}, "cidr", "is no property"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "ipv6CidrBlock": "x"}, "ipv6CidrBlock", "not model"),
        (VPC, {}, "cidrBlock", "is missing"),
        (VPC, {"cidrBlock": 10}, "cidrBlock", "a string is needed"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": "yes"}, "enableDnsSupport", "true"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": ["a"]}, "tags", "a map is needed"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": 1}}, "tags.a", "a string is needed"),
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, "vpcId", "is missing"),
        (
            INSTANCE,
            {"rootBlockDevice": {"volumeSize": "100"}},
            "rootBlockDevice.volumeSize",
            "a whole number is needed",
        ),
        (
            INSTANCE,
            {"rootBlockDevice": {"volumeSize": 1.5}},
            "rootBlockDevice.volumeSize",
            "a whole number is needed",
        ),
        (
            INSTANCE,
            {"rootBlockDevice": {"volumeSize": True}},
            "rootBlockDevice.volumeSize",
            "a whole number is needed",
        ),
        (INSTANCE, {"rootBlockDevice": {"size": 1}}, "rootBlockDevice.size", "is no property"),
        (
            INSTANCE,
            {"rootBlockDevice": {"deviceName": "x"}},
            "rootBlockDevice.deviceName",
            "does not model",
        ),
        (INSTANCE, {"keyName": "x"}, "keyName", "does not model"),
        (INSTANCE, {"ami": "ami-1"}, "instanceType", "is missing"),
        (
            TEMPLATE,
            {"networkInterfaces": [{"deviceIndex": 0}, {"ipv6Addresses": []}]},
            "networkInterfaces[1].ipv6Addresses",
            "does not model",
        ),
        (
            GROUP,
            {"mixedInstancesPolicy": {"launchTemplate": {"overrides": []}}},
            "mixedInstancesPolicy.launchTemplate.launchTemplateSpecification",
            "is missing",
        ),
        (
            GROUP,
            {
                "mixedInstancesPolicy": {
                    "launchTemplate": {
                        "launchTemplateSpecification": {},
                        "overrides": [{"weightedCapacity": "1"}],
                    }
                }
            },
            "mixedInstancesPolicy.launchTemplate.overrides[0].weightedCapacity",
            "does not model",
        ),
        ("aws:s3/bucketObjectv2:BucketObjectv2", {"source": "x"}, "source", "FileAsset"),
    ],
)
def test_a_wrong_input_is_refused_by_its_path(
    engine: Engine, token: str, inputs: dict[str, Any], path: str, reason: str
) -> None:
    assert reason in engine.problems(token, inputs).get(path, "not refused")


def test_an_unknown_value_fits_every_type(engine: Engine) -> None:
    inputs = {"cidrBlock": UNKNOWN, "enableDnsSupport": UNKNOWN, "tags": UNKNOWN}
    assert engine.problems(VPC, inputs) == {}


def test_a_refusal_never_tells_the_value(engine: Engine) -> None:
    reasons = engine.problems(VPC, {"cidrBlock": ["hunter2"]}).values()
    assert not any("hunter2" in reason for reason in reasons)


@pytest.mark.parametrize("token", ["aws:rds/instance:Instance", "aws:ec2/nothing:Nothing"])
def test_a_type_outside_the_table_is_refused(engine: Engine, token: str) -> None:
    with pytest.raises(RefusedError, match="does not model"):
        engine.problems(token, {})


@pytest.mark.parametrize("token", ["aws:ec2/getVpcs:getVpcs", "aws:ec2/getNothing:getNothing"])
def test_a_function_outside_the_table_is_refused(engine: Engine, token: str) -> None:
    with pytest.raises(RefusedError, match="does not model"):
        engine.invoke(token)


@pytest.mark.parametrize(
    ("arguments", "path", "reason"),
    [
        ({"naem": "x"}, "naem", "is no property"),
        ({}, "name", "is missing"),
        ({"name": 1}, "name", "a string is needed"),
    ],
)
def test_a_wrong_argument_of_a_function_is_refused(
    engine: Engine, arguments: dict[str, Any], path: str, reason: str
) -> None:
    answer = engine.invoke("aws:ssm/getParameter:getParameter", **arguments)
    assert reason in answer["failures"][path]


def test_an_argument_the_function_does_not_model_is_refused(engine: Engine) -> None:
    answer = engine.invoke("aws:ec2/getAmi:getAmi", uefiData="x")
    assert "does not model" in answer["failures"]["uefiData"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "aws:region is missing"),
        ({"region": "us-east-1", "profile": "prod"}, "does not model this setting"),
        ({"region": "us-east-1", "defaultTags": '{"a": "b"}'}, "must look like"),
        ({"region": "us-east-1", "allowedAccountIds": '["999999999999"]'}, "is 123456789012"),
    ],
)
def test_a_wrong_setting_of_the_provider_is_refused(
    engine: Engine, settings: dict[str, Any], reason: str
) -> None:
    request = provider_pb2.ConfigureRequest(args=to_wire(settings, []))
    with pytest.raises(RefusedError, match=reason):
        engine.provider.Configure(request, Connection("wrong"))


def test_a_connection_that_was_never_configured_is_refused(engine: Engine) -> None:
    request = provider_pb2.ReadRequest(urn=urn(VPC), id="vpc-1")
    with pytest.raises(RefusedError, match="lost its configuration"):
        engine.provider.Read(request, Connection("stranger"))


@pytest.mark.parametrize("token", TYPES)
def test_every_property_of_the_table_is_one_of_the_sdk(token: str) -> None:
    row, known = TYPES[token], schema.resource(token).inputs
    assert row.modelled <= known.keys()
    assert {*row.later.split(), *row.twice.split(), *row.needed.split()} <= row.modelled
    assert row.defaults.keys() <= row.modelled
    assert moto_gaps.REMEMBERED.get(token, {}).keys() <= row.modelled
    for path, names in row.nested.items():
        kind, *inner = path.split(".")
        inside = schema.object_inputs(known[kind])
        for name in inner:
            inside = schema.object_inputs(inside[name])
        assert set(names.split()) <= inside.keys(), path


@pytest.mark.parametrize("token", TYPES)
def test_every_object_property_says_what_it_models(token: str) -> None:
    row, known = TYPES[token], schema.resource(token).inputs
    objects = {name for name in row.modelled if schema.is_object(known[name])}
    assert objects <= row.nested.keys()


@pytest.mark.parametrize("token", TYPES)
def test_a_change_of_a_property_means_one_thing(token: str) -> None:
    row = TYPES[token]
    in_place = " ".join(row.updates).split()
    assert len(in_place) == len(set(in_place))
    assert not set(row.fixed.split()) & set(in_place)
    assert not set(row.local.split()) & {*row.fixed.split(), *in_place}


def test_a_property_the_request_does_not_know_is_an_error_and_not_lost(engine: Engine) -> None:
    with pytest.raises(Exception, match="has no argument colour"):
        engine.aws.arguments("ec2.create_vpc", {"cidrBlock": "10.0.0.0/16", "colour": "red"})


def test_a_name_is_kept_and_a_missing_one_is_made(engine: Engine, world: World) -> None:
    token = "aws:iam/role:Role"
    role = {"assumeRolePolicy": "{}"}
    made = engine.checked(token, role)
    assert made["name"].startswith("thing-")
    assert len(made["name"]) == len("thing-") + 7
    assert engine.checked(token, role, made)["name"] == made["name"]
    assert engine.checked(token, {**role, "name": "mine"}, made)["name"] == "mine"


def test_the_name_the_engine_proposes_is_taken(engine: Engine) -> None:
    token = "aws:s3/bucket:Bucket"
    mode = provider_pb2.CheckRequest.AutonamingOptions.Mode
    proposal = provider_pb2.CheckRequest.AutonamingOptions(
        proposed_name="stack-thing", mode=mode.ENFORCE
    )
    request = provider_pb2.CheckRequest(urn=urn(token), autonaming=proposal)
    answer = engine.provider.Check(request, engine.connection)
    assert answer.inputs["bucket"] == "stack-thing"


def test_without_automatic_names_a_missing_name_is_refused(engine: Engine) -> None:
    token = "aws:s3/bucket:Bucket"
    mode = provider_pb2.CheckRequest.AutonamingOptions.Mode
    proposal = provider_pb2.CheckRequest.AutonamingOptions(mode=mode.DISABLE)
    request = provider_pb2.CheckRequest(urn=urn(token), autonaming=proposal)
    answer = engine.provider.Check(request, engine.connection)
    assert [failure.property for failure in answer.failures] == ["bucket"]


def test_a_long_resource_name_leaves_room_for_the_suffix() -> None:
    token = "aws:iam/role:Role"
    request = provider_pb2.CheckRequest(urn=urn(token, "x" * 100), randomSeed=b"s")
    name = checks.named(TYPES[token], request, {}, {})["name"]
    assert len(name) == 64
