"""How the provider treats the engine and AWS: drift, tags, regions, secrets, previews, refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace as World
from typing import Any

import pytest
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, status_pb2

from sandbox.provider.aws import Aws
from sandbox.provider.service import AwsProvider
from sandbox.provider.values import UNKNOWN, from_wire, secret, to_wire
from tests.sandbox.engine import Connection, Engine, Made, RefusedError, urn

VPC = "aws:ec2/vpc:Vpc"
NONE = provider_pb2.DiffResponse.DIFF_NONE
INSTANCE = "aws:ec2/instance:Instance"
BUCKET = "aws:s3/bucket:Bucket"
OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


def refreshed(engine: Engine, made: Made) -> Made:
    found = engine.read(made)
    assert found is not None
    return found


@pytest.fixture
def tagged(provider: AwsProvider, endpoint: str) -> Engine:
    return Engine(
        provider, endpoint, Connection("tagged"), default_tags={"project": "p", "stack": "s"}
    )


@pytest.fixture
def leader(engine: Engine, world: World) -> Made:
    return engine.create(
        INSTANCE,
        ami=world.image,
        instanceType="g5.xlarge",
        subnetId=world.subnets[0],
        userData="#!/bin/sh\n",
        rootBlockDevice={"volumeType": "gp3", "volumeSize": 20},
    )


def test_drift_is_seen_and_repaired(engine: Engine) -> None:
    made = engine.create(VPC, cidrBlock="10.2.0.0/16", enableDnsHostnames=True, tags={"a": "1"})
    off: dict[str, Any] = {"EnableDnsHostnames": {"Value": False}}
    engine.aws.call("ec2.modify_vpc_attribute", VpcId=made.id, **off)
    tags = [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]
    engine.aws.call("ec2.create_tags", Resources=[made.id], Tags=tags)
    drifted = refreshed(engine, made)
    assert drifted.inputs["enableDnsHostnames"] is False
    assert drifted.inputs["tags"] == {"a": "2", "b": "3"}
    difference = engine.diff(drifted, made.inputs)
    assert set(difference.diffs) == {"enableDnsHostnames", "tags"}
    repaired = engine.update(drifted, **made.inputs)
    assert refreshed(engine, repaired).inputs == made.inputs


def test_a_removed_route_is_drift(engine: Engine, world: World) -> None:
    gateway = engine.create("aws:ec2/internetGateway:InternetGateway").id
    table = engine.create(
        "aws:ec2/routeTable:RouteTable",
        vpcId=world.vpc,
        routes=[{"cidrBlock": "0.0.0.0/0", "gatewayId": gateway}],
    )
    engine.aws.call("ec2.delete_route", RouteTableId=table.id, DestinationCidrBlock="0.0.0.0/0")
    assert refreshed(engine, table).inputs["routes"] == []


def test_an_object_changed_behind_its_back_is_drift(
    engine: Engine, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "agent.zip"
    file.write_bytes(b"\x00\xffagent")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    asset = {rpc._special_sig_key: rpc._special_asset_sig, "path": str(file), "hash": digest}
    made = engine.create(OBJECT, bucket=world.bucket, key="agent.zip", source=asset)
    file.unlink()
    assert refreshed(engine, made).inputs == made.inputs
    engine.aws.call("s3.put_object", Bucket=world.bucket, Key="agent.zip", Body=b"other")
    assert engine.diff(refreshed(engine, made), made.inputs).diffs == ["source"]


def test_an_asset_that_changed_since_the_program_ran_is_refused(
    engine: Engine, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "agent.zip"
    file.write_text("new")
    asset = {rpc._special_sig_key: rpc._special_asset_sig, "path": str(file), "hash": "0" * 64}
    with pytest.raises(RefusedError, match="run the command again"):
        engine.create(OBJECT, bucket=world.bucket, key="agent.zip", source=asset)


def test_default_tags_are_added_and_are_no_inputs(tagged: Engine) -> None:
    made = tagged.create(VPC, cidrBlock="10.3.0.0/16", tags={"stack": "own", "a": "1"})
    assert made.outputs["tagsAll"] == {"project": "p", "stack": "own", "a": "1"}
    assert made.outputs["tags"] == {"stack": "own", "a": "1"}
    found = refreshed(tagged, made)
    assert found.inputs == made.inputs
    assert tagged.diff(found, made.inputs).changes == NONE


def test_a_lost_default_tag_is_repaired(tagged: Engine) -> None:
    made = tagged.create(VPC, cidrBlock="10.4.0.0/16")
    tagged.aws.call("ec2.delete_tags", Resources=[made.id], Tags=[{"Key": "project"}])
    found = refreshed(tagged, made)
    assert tagged.diff(found, made.inputs).diffs == ["tagsAll"]
    assert tagged.update(found, **made.inputs).outputs["tagsAll"] == {"project": "p", "stack": "s"}


def test_the_tags_of_a_root_volume_include_the_default_ones(tagged: Engine, world: World) -> None:
    made = tagged.create(
        INSTANCE,
        ami=world.image,
        instanceType="g5.xlarge",
        subnetId=world.subnets[0],
        rootBlockDevice={"volumeSize": 20, "tags": {"Name": "root"}},
    )
    device = made.outputs["rootBlockDevice"]
    assert device["tags"] == {"Name": "root"}
    assert device["tagsAll"] == {"Name": "root", "project": "p", "stack": "s"}
    assert refreshed(tagged, made).inputs == made.inputs


def test_a_changed_default_tag_leaves_the_root_volume_unless_its_block_names_it(
    provider: AwsProvider, endpoint: str, tagged: Engine, world: World
) -> None:
    moved = Engine(
        provider, endpoint, Connection("moved"), default_tags={"project": "p", "stack": "t"}
    )
    instance = {"ami": world.image, "instanceType": "g5.xlarge", "subnetId": world.subnets[0]}

    def tags_after(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
        made = tagged.create(
            INSTANCE, **instance, rootBlockDevice={"volumeSize": 20, "tags": before}
        )
        found = refreshed(moved, made)
        wanted = {**instance, "rootBlockDevice": {"volumeSize": 20, "tags": after}}
        assert not moved.diff(found, wanted).replaces
        device = moved.update(found, **wanted).outputs["rootBlockDevice"]
        return dict(device["tagsAll"])

    assert tags_after({"Name": "root"}, {"Name": "root"}) == {"Name": "root", "project": "p"}
    named = {"Name": "root", "stack": "s"}
    assert tags_after(named, {**named, "stack": "t"}) == {**named, "project": "p", "stack": "t"}


def test_every_connection_keeps_its_own_configuration(
    provider: AwsProvider, endpoint: str, engine: Engine, tagged: Engine
) -> None:
    west = Engine(provider, endpoint, Connection("west"), region="us-west-2")
    there = west.create(VPC, cidrBlock="10.5.0.0/16")
    here = tagged.create(VPC, cidrBlock="10.5.0.0/16")
    plain = engine.create(VPC, cidrBlock="10.5.0.0/16")
    assert there.outputs["region"] == "us-west-2"
    assert ":us-west-2:" in there.outputs["arn"]
    assert here.outputs["tagsAll"].keys() == {"project", "stack"}
    assert plain.outputs["tagsAll"] == {}
    assert engine.read(there, imported=True) is None


def test_a_resource_may_have_a_region_of_its_own(engine: Engine) -> None:
    made = engine.create(VPC, cidrBlock="10.6.0.0/16", region="eu-west-1")
    assert made.outputs["region"] == "eu-west-1"
    assert refreshed(engine, made).inputs == made.inputs
    assert engine.diff(made, {"cidrBlock": "10.6.0.0/16"}).replaces == ["region"]
    engine.delete(made)
    assert engine.read(made) is None


def test_a_preview_knows_the_inputs_and_nothing_else(engine: Engine) -> None:
    made = engine.create(VPC, preview=True, cidrBlock="10.0.0.0/16")
    assert made.id == ""
    assert made.outputs["cidrBlock"] == "10.0.0.0/16"
    assert made.outputs["arn"] == UNKNOWN


def test_a_preview_of_a_new_template_version_does_not_promise_its_number(
    engine: Engine, world: World
) -> None:
    made = engine.create(TEMPLATE, imageId=world.image, instanceType="g5.xlarge")
    request = provider_pb2.UpdateRequest(
        urn=urn(TEMPLATE),
        id=made.id,
        olds=to_wire(made.outputs, []),
        old_inputs=to_wire(made.inputs, []),
        news=to_wire({**made.inputs, "instanceType": "g6.xlarge"}, []),
        preview=True,
    )
    answer = from_wire(engine.provider.Update(request, engine.connection).properties)[0]
    assert answer["latestVersion"] == UNKNOWN
    changed = engine.update(made, imageId=world.image, instanceType="g6.xlarge")
    assert changed.outputs["latestVersion"] == 2


def test_an_unknown_new_value_is_a_change(engine: Engine) -> None:
    made = engine.create(VPC, cidrBlock="10.7.0.0/16")
    assert engine.diff(made, {**made.inputs, "cidrBlock": UNKNOWN}).replaces == ["cidrBlock"]


def test_a_secret_input_is_secret_wherever_it_comes_out(engine: Engine) -> None:
    inputs = {"cidrBlock": "10.8.0.0/16", "tags": {"key": secret("hidden"), "plain": "seen"}}
    request = provider_pb2.CreateRequest(urn=urn(VPC), properties=to_wire(inputs, []))
    answer = engine.provider.Create(request, engine.connection)
    wire = str(answer.properties)
    properties, secrets = from_wire(answer.properties)
    assert secrets == ["hidden", "hidden"]
    assert properties["tagsAll"] == {"key": "hidden", "plain": "seen"}
    assert wire.count("hidden") == wire.count(rpc._special_secret_sig) == 2


def test_a_parameter_is_secret_and_its_plain_twin_is_not(engine: Engine) -> None:
    name = (
        "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    )
    request = provider_pb2.InvokeRequest(
        tok="aws:ssm/getParameter:getParameter", args=to_wire({"name": name}, [])
    )
    response = engine.provider.Invoke(request, engine.connection)
    answer, secrets = from_wire(getattr(response, "return"))
    assert secrets == [answer["insecureValue"]]
    image = engine.aws.call("ec2.describe_images", ImageIds=[answer["insecureValue"]])["Images"][0]
    assert "stand-in" in image["Name"]


def test_a_type_change_stops_and_starts_the_same_instance(engine: Engine, leader: Made) -> None:
    new = {**leader.inputs, "instanceType": "g5.2xlarge"}
    assert not engine.diff(leader, new).replaces
    changed = engine.update(leader, **new)
    assert changed.id == leader.id
    assert changed.outputs["instanceType"] == "g5.2xlarge"
    assert changed.outputs["instanceState"] == "running"


def test_another_reservation_stops_and_starts_the_same_instance_at_once(
    engine: Engine, leader: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"capacityReservationSpecification": {"capacityReservationPreference": "open"}}
    assert engine.diff(leader, {**leader.inputs, **said}).changes == NONE  # AWS's default
    reservation = engine.create(
        "aws:ec2/capacityReservation:CapacityReservation",
        instanceType="g5.xlarge",
        instancePlatform="Linux/UNIX",
        availabilityZone="us-east-1a",
        instanceCount=1,
    )
    target = {"capacityReservationTarget": {"capacityReservationId": reservation.id}}
    calls: list[str] = []
    call = Aws.call

    def noted(aws: Aws, operation: str, **arguments: Any) -> Any:
        calls.append(operation)
        return call(aws, operation, **arguments)

    monkeypatch.setattr(Aws, "call", noted)
    inside = engine.update(leader, **{**leader.inputs, "capacityReservationSpecification": target})
    assert inside.id == leader.id
    assert calls.index("ec2.stop_instances") < calls.index("ec2.start_instances")
    calls.clear()
    outside = engine.update(inside, **{**inside.inputs, **said})
    assert outside.id == leader.id
    assert outside.outputs["instanceState"] == "running"
    assert calls.index("ec2.stop_instances") < calls.index("ec2.start_instances")


def test_an_interface_has_an_address_that_nobody_else_has(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dice of moto's would have chosen the subnet's first one each time."""
    dice = "moto.ec2.models.elastic_network_interfaces.random_private_ip"
    monkeypatch.setattr(dice, lambda block: block.replace("0/20", "4"))
    kind = "aws:ec2/networkInterface:NetworkInterface"
    made = [engine.create(kind, subnetId=world.subnets[0]) for _ in range(3)]
    assert len({each.outputs["privateIp"] for each in made}) == 3


def test_user_data_replaces_only_where_asked(engine: Engine, leader: Made) -> None:
    new = {**leader.inputs, "userData": "#!/bin/bash\n"}
    assert not engine.diff(leader, new).replaces
    assert engine.diff(leader, {**new, "userDataReplaceOnChange": True}).replaces == ["userData"]


def test_encrypting_a_root_volume_replaces_and_growing_it_does_not(
    engine: Engine, leader: Made
) -> None:
    device = leader.inputs["rootBlockDevice"]
    grown = {**leader.inputs, "rootBlockDevice": {**device, "volumeSize": 40}}
    locked = {**leader.inputs, "rootBlockDevice": {**device, "encrypted": True}}
    assert not engine.diff(leader, grown).replaces
    assert engine.diff(leader, locked).replaces == ["rootBlockDevice"]
    assert list(engine.diff(leader, locked).detailedDiff) == ["rootBlockDevice.encrypted"]


def test_an_interface_outlives_its_instance_and_serves_one_at_a_time(
    engine: Engine, world: World
) -> None:
    interface = engine.create(
        "aws:ec2/networkInterface:NetworkInterface", subnetId=world.subnets[0]
    )
    machine = {
        "ami": world.image,
        "instanceType": "g5.xlarge",
        "primaryNetworkInterface": {"networkInterfaceId": interface.id},
    }
    first = engine.create(INSTANCE, **machine)
    assert first.outputs["privateIp"] == interface.outputs["privateIp"]
    with pytest.raises(RefusedError, match=r"InUse.*delete_before_replace"):
        engine.create(INSTANCE, **machine)
    engine.delete(first)
    found = engine.aws.call("ec2.describe_network_interfaces", NetworkInterfaceIds=[interface.id])
    assert found["NetworkInterfaces"][0]["Status"] == "available"
    second = engine.create(INSTANCE, **machine)
    assert second.outputs["privateIp"] == interface.outputs["privateIp"]


def test_a_protected_instance_refuses_to_go(engine: Engine, leader: Made) -> None:
    locked = engine.update(leader, **leader.inputs, disableApiTermination=True)
    with pytest.raises(RefusedError, match="OperationNotPermitted"):
        engine.delete(locked)


def test_a_group_starts_instances_and_takes_everything_along(engine: Engine, world: World) -> None:
    template = engine.create(
        TEMPLATE,
        imageId=world.image,
        instanceType="g5.xlarge",
        blockDeviceMappings=[{"deviceName": "/dev/sda1", "ebs": {"volumeSize": 50}}],
    )
    specification = {"launchTemplateId": template.id, "version": "1"}
    before = volumes(engine)
    group = engine.create(
        "aws:autoscaling/group:Group",
        minSize=1,
        maxSize=1,
        vpcZoneIdentifiers=world.subnets,
        mixedInstancesPolicy={"launchTemplate": {"launchTemplateSpecification": specification}},
    )
    names = [group.id]
    found = engine.aws.call("autoscaling.describe_auto_scaling_groups", AutoScalingGroupNames=names)
    machine = found["AutoScalingGroups"][0]["Instances"][0]["InstanceId"]
    assert len(volumes(engine)) == len(before) + 1
    engine.delete(group)
    answer = engine.aws.call("ec2.describe_instances", InstanceIds=[machine])
    assert answer["Reservations"][0]["Instances"][0]["State"]["Name"] == "terminated"
    assert volumes(engine) == before


def volumes(engine: Engine) -> set[str]:
    found = engine.aws.call("ec2.describe_volumes")["Volumes"]
    return {volume["VolumeId"] for volume in found}


def test_a_bucket_with_contents_goes_only_by_force(engine: Engine) -> None:
    made = engine.create(BUCKET, bucket="full")
    engine.create(
        "aws:s3/bucketVersioning:BucketVersioning",
        bucket="full",
        versioningConfiguration={"status": "Enabled"},
    )
    for body in ("one", "two"):
        engine.aws.call("s3.put_object", Bucket="full", Key="key", Body=body)
    engine.aws.call("s3.delete_object", Bucket="full", Key="key")
    with pytest.raises(RefusedError, match="BucketNotEmpty"):
        engine.delete(made)
    engine.delete(engine.update(made, bucket="full", forceDestroy=True))
    assert engine.read(made) is None


def test_a_new_security_group_lets_nothing_out(engine: Engine, world: World) -> None:
    made = engine.create("aws:ec2/securityGroup:SecurityGroup", vpcId=world.vpc)
    found = engine.aws.call("ec2.describe_security_groups", GroupIds=[made.id])
    assert found["SecurityGroups"][0]["IpPermissionsEgress"] == []


def test_a_name_the_user_chose_makes_a_replacement_delete_first(engine: Engine) -> None:
    token = "aws:secretsmanager/secret:Secret"
    role = "aws:iam/role:Role"
    chosen = engine.create(role, name="chosen", assumeRolePolicy="{}")
    automatic = engine.create(role, assumeRolePolicy="{}")
    assert engine.diff(chosen, {**chosen.inputs, "path": "/x/"}).deleteBeforeReplace
    assert not engine.diff(automatic, {**automatic.inputs, "path": "/x/"}).deleteBeforeReplace
    assert not engine.problems(token, {})


def test_policies_are_compared_by_meaning(engine: Engine, world: World) -> None:
    allowed = '{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}'
    document = f'{{"Version": "2012-10-17", "Statement": [{allowed}]}}'
    token = "aws:iam/rolePolicy:RolePolicy"
    made = engine.create(token, role=world.role, policy=document)
    spaced = {**made.inputs, "policy": document.replace(" ", "\n  ")}
    assert engine.diff(made, spaced).changes == NONE


def test_a_record_may_leave_the_zone_out_of_its_name(engine: Engine, world: World) -> None:
    token = "aws:route53/record:Record"
    made = engine.create(
        token, zoneId=world.zone, name="short", type="A", ttl=60, records=["10.0.0.9"]
    )
    assert made.outputs["fqdn"] == "short.world.internal"
    assert refreshed(engine, made).inputs == made.inputs


def test_a_refusal_of_aws_is_one_line_with_its_code(engine: Engine, world: World) -> None:
    with pytest.raises(RefusedError) as refusal:
        engine.create(
            INSTANCE, ami="ami-0123456789", instanceType="g5.xlarge", subnetId=world.subnets[0]
        )
    assert "InvalidAMIID" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unfinished_creation_is_not_lost(provider: AwsProvider, endpoint: str) -> None:
    connection = Connection("unfinished")
    engine = Engine(provider, endpoint, connection)
    with pytest.raises(RefusedError, match="InvalidVpcID"):
        engine.create("aws:ec2/internetGateway:InternetGateway", vpcId="vpc-0123456789abcdef0")
    ((key, value),) = connection.trailing
    status = status_pb2.Status.FromString(value)
    details = provider_pb2.ErrorResourceInitFailed()
    assert key == "grpc-status-details-bin"
    assert status.details[0].Unpack(details)
    assert engine.aws.call("ec2.describe_internet_gateways", InternetGatewayIds=[details.id])


@pytest.mark.parametrize(
    ("token", "arguments", "name", "expected"),
    [
        ("aws:index/getCallerIdentity:getCallerIdentity", {}, "accountId", "123456789012"),
        ("aws:index/getPartition:getPartition", {}, "partition", "aws"),
        ("aws:index/getRegion:getRegion", {"region": "eu-west-1"}, "region", "eu-west-1"),
        (
            "aws:index/getAvailabilityZones:getAvailabilityZones",
            {"state": "available"},
            "names",
            [f"us-east-1{letter}" for letter in "abcdef"],
        ),
        ("aws:ec2/getVpc:getVpc", {"default": True}, "cidrBlock", "172.31.0.0/16"),
        (
            "aws:ec2/getAmi:getAmi",
            {"owners": ["898082745236"], "nameRegex": "Canonical Ubuntu 24", "mostRecent": True},
            "name",
            "stand-in for Canonical Ubuntu 24.04",
        ),
    ],
)
def test_a_function_answers(
    engine: Engine, token: str, arguments: dict[str, Any], name: str, expected: Any
) -> None:
    assert engine.invoke(token, **arguments)[name] == expected


def test_offerings_tell_where_a_type_exists(engine: Engine) -> None:
    answer = engine.invoke(
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings",
        locationType="availability-zone",
        filters=[{"name": "instance-type", "values": ["g7e.2xlarge"]}],
    )
    assert sorted(answer["locations"]) == ["us-east-1a", "us-east-1c"]


def test_functions_find_what_exists(engine: Engine, world: World) -> None:
    subnet = engine.invoke("aws:ec2/getSubnet:getSubnet", id=world.subnets[0])
    system = engine.invoke("aws:efs/getFileSystem:getFileSystem", fileSystemId=world.file_system)
    assert subnet["vpcId"] == world.vpc
    assert system["dnsName"] == f"{world.file_system}.efs.us-east-1.amazonaws.com"
    with pytest.raises(RefusedError, match="exactly one must"):
        engine.invoke("aws:ec2/getSubnet:getSubnet", vpcId=world.vpc)


def test_an_instance_is_found_until_it_is_gone(engine: Engine, leader: Made) -> None:
    def found(*states: str) -> list[str]:
        mine = [{"name": "instance-id", "values": [leader.id]}]
        more = {"instanceStateNames": list(states)} if states else {}
        answer = engine.invoke("aws:ec2/getInstances:getInstances", filters=mine, **more)
        return list(answer["ids"])

    assert found() == [leader.id]
    assert found("stopped") == []
    engine.delete(leader)
    assert found() == []
    assert found("terminated") == [leader.id]
