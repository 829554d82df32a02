"""The preflight against the sandbox's AWS: accounts and days that a first deployment would die of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from model.recorded import recorded
from model.settings.aws import FollowersOnAws, Settings
from model.settings.read import parse
from model.tags import CLUSTER_TAG, GIVEN_UP_TAG, ID_TAG
from operate.commands.quota_request import ask, wanted_quotas
from preflight import CHECKS, FIRST, Outcome, Report, run
from preflight.credentials import credentials
from preflight.situation import Situation, situation_of
from preflight.volume_key import GRANTED
from sandbox.lifecycle import Sandbox, start, stop
from sandbox.provider.quotas import limits
from tests.harness import stack_config

CLUSTER = "graphistry-cluster/prod"
PROVIDER = {
    "type": "pulumi:providers:aws",
    "outputs": {"defaultTags": json.dumps({"tags": {ID_TAG: "ours"}})},
}
RAW: dict[str, Any] = {
    "gpuProfiles": {
        "t4": {"instanceTypes": ["g4dn.2xlarge", "g4dn.4xlarge"]},
        "h100": {"instanceTypes": ["p5.48xlarge"]},
    },
    "leader": {"profile": "t4"},
    "followers": {"small": {"profile": "t4"}, "cheap": {"profile": "t4", "market": "spot"}},
    "release": {
        "version": "2.50.1",
        "cuda": "12",
        "source": "s3://releases/graphistry.tar.gz",
        "sha256": "0" * 64,
    },
}
AUTO_SCALING = (
    "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/"
    "AWSServiceRoleForAutoScaling"
)
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
RUNNING_LEADER = [
    {"Name": "tag:Name", "Values": ["graphistry-prod-leader"]},
    {"Name": "instance-state-name", "Values": ["running"]},
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("preflight")
    started = start(directory)
    s3 = World(started).client("s3")
    s3.create_bucket(Bucket="releases")
    s3.put_object(Bucket="releases", Key="graphistry.tar.gz", Body=b"an archive")
    yield started
    stop(directory)


@pytest.fixture
def world(sandbox: Sandbox) -> Iterator[World]:
    made = World(sandbox)
    yield made
    made.end()


class World:
    """The sandbox's AWS, whose account and mood a test sets; they are as before when it has ended."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._files: set[Path] = set()
        self.known = recorded([PROVIDER])
        """What the stack's state says."""
        self.calls: Counter[str] = Counter()
        """Requests that were sent, by operation."""

    def says(self, name: str, content: dict[str, Any]) -> None:
        """Write one of the files that the sandbox's AWS looks into."""
        file = self._sandbox.directory / name
        file.write_text(json.dumps(content))
        self._files.add(file)

    def client(self, service: str, config: Config | None = None) -> Any:
        client = boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self._sandbox.aws_endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="canary",
            config=config,
        )
        client.meta.events.register("before-send", self._count)
        return client

    def _count(self, event_name: str, **_: Any) -> None:
        self.calls[event_name.removeprefix("before-send.")] += 1

    def runs(self, instance_type: str, node: str, *, cluster: str = CLUSTER) -> None:
        """Start a machine."""
        tags = [
            {"Key": "Name", "Value": f"graphistry-prod-{node}"},
            {"Key": CLUSTER_TAG, "Value": cluster},
        ]
        self.client("ec2").run_instances(
            ImageId=self.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"],
            InstanceType=instance_type,
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )

    def volume(self, tags: dict[str, str]) -> str:
        """Make a volume; its id."""
        made = self.client("ec2").create_volume(
            AvailabilityZone="us-east-1a",
            Size=1,
            TagSpecifications=[
                {
                    "ResourceType": "volume",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )
        return str(made["VolumeId"])

    def end(self) -> None:
        for file in self._files:
            file.unlink()
        ec2 = self.client("ec2")
        for each in ec2.describe_instances()["Reservations"]:
            ec2.terminate_instances(InstanceIds=[each["Instances"][0]["InstanceId"]])
        for each in ec2.describe_capacity_reservations()["CapacityReservations"]:
            ec2.cancel_capacity_reservation(CapacityReservationId=each["CapacityReservationId"])

    def situation(self, raw: dict[str, Any] = RAW, region: str = "us-east-1") -> Situation:
        settings = parse(raw)
        assert isinstance(settings, FollowersOnAws)
        release = settings.release if isinstance(settings, Settings) else None
        return situation_of(settings, region, CLUSTER, self.client, release, lambda: self.known)

    def look(self, raw: dict[str, Any] = RAW) -> Report:
        return run(self.situation(raw), ())


def outcome(report: Report, check: str) -> Outcome:
    return next(each for each in report.outcomes if each.check == check)


def got(report: Report) -> str:
    """What the one problem of the quota got."""
    (problem,) = outcome(report, "quota").problems
    return problem.got


def hint(report: Report) -> str:
    """What to do about the one problem of the quota."""
    (problem,) = outcome(report, "quota").problems
    return problem.hint


@pytest.mark.parametrize("stack", ["sandbox", "dev", "prod"])
def test_the_account_of_the_sandbox_holds_the_stacks_that_come_with_the_project(
    world: World, stack: str
) -> None:
    prefix = "graphistry-cluster:"
    raw = {
        key.removeprefix(prefix): value
        for key, value in stack_config(stack).items()
        if key.startswith(prefix) and value not in ("", {})
    }
    (bare,) = world.look(raw).problems
    assert (bare.path, bare.got.partition(",")[0]) == ("release.source", "preinstalled")
    report = world.look({**raw, "release": RAW["release"]})
    assert report.checks("passed") == [*FIRST, *CHECKS]
    assert outcome(report, "image").remark.startswith("a stand-in, as every image of the sandbox")


COLLEAGUES: dict[str, dict[str, str]] = {
    "of another state": {ID_TAG: "theirs"},
    "of an earlier version": {},
    "given up": {ID_TAG: "theirs", GIVEN_UP_TAG: "2026-01-01"},
    "ours": {ID_TAG: "ours"},
}


@pytest.mark.parametrize(
    ("tags", "state", "refused"),
    [
        ("of another state", [PROVIDER], True),
        ("of another state", [], True),
        ("of an earlier version", [], True),
        ("of an earlier version", [PROVIDER], False),
        ("given up", [], False),
        ("ours", [PROVIDER], False),
    ],
)
def test_an_account_with_another_cluster_of_this_name_is_refused(
    world: World, tags: str, state: list[dict[str, Any]], refused: bool
) -> None:
    world.known = recorded(state)
    made = world.volume({CLUSTER_TAG: CLUSTER, **COLLEAGUES[tags]})
    try:
        problems = outcome(world.look(), "cluster").problems
        assert bool(problems) == refused
        for each in problems:
            assert f"volume {made}, since 20" in each.got
            assert f"ResourceName,AttributeValue={made}" in each.hint
    finally:
        world.client("ec2").delete_volume(VolumeId=made)


def test_who_made_another_cluster_of_this_name_is_named(world: World) -> None:
    ec2 = world.client("ec2")
    tags = [{"Key": CLUSTER_TAG, "Value": CLUSTER}]
    ec2.create_launch_template(
        LaunchTemplateName="theirs",
        LaunchTemplateData={"InstanceType": "g4dn.2xlarge"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )
    world.known = recorded([])
    try:
        (problem,) = outcome(world.look(), "cluster").problems
        assert ", made by arn:aws:iam::123456789012:" in problem.got
    finally:
        ec2.delete_launch_template(LaunchTemplateName="theirs")


def test_a_new_account_has_no_gpu_quota(world: World) -> None:
    world.says("quotas.json", {"L-DB2E81BA": 0})
    assert got(world.look()).startswith("16 vCPUs more (2 x g4dn.2xlarge), with 0 of 0 in use")


def test_each_quota_that_lacks_is_told(world: World) -> None:
    world.says("quotas.json", {"L-DB2E81BA": 15, "L-3819A6DF": 7, "L-417A185B": 0})
    paths = [each.path for each in outcome(world.look(), "quota").problems]
    assert paths == ["leader, followers.small", "followers.cheap"]


def test_machines_of_others_and_of_uncatalogued_types_are_in_use(world: World) -> None:
    world.runs("g4dn.xlarge", "training", cluster="")
    world.runs("vt1.3xlarge", "video", cluster="")
    world.runs("m5.large", "web", cluster="")
    world.says("quotas.json", {"L-DB2E81BA": 20})
    assert ", with 16 of 20 in use: " in got(world.look())
    assert world.calls["ec2.DescribeInstanceTypes"] == 1


def test_a_cluster_that_runs_adds_nothing(world: World) -> None:
    for node in ("leader", "small", "cheap"):
        world.runs("g4dn.2xlarge", node)
    world.says("quotas.json", {"L-DB2E81BA": 0, "L-3819A6DF": 0})
    assert world.look().problems == ()
    assert not [each for each in world.calls if each.startswith("service-quotas")]


def test_a_stopped_leader_needs_its_vcpus_again(world: World) -> None:
    world.runs("g4dn.2xlarge", "small")
    world.runs("g4dn.2xlarge", "leader")
    (leader,) = world.client("ec2").describe_instances(Filters=RUNNING_LEADER)["Reservations"]
    world.client("ec2").stop_instances(InstanceIds=[leader["Instances"][0]["InstanceId"]])
    world.says("quotas.json", {"L-DB2E81BA": 15})
    assert got(world.look()).startswith("8 vCPUs more (1 x g4dn.2xlarge), with 8 of 15 in use")


def test_a_place_that_is_reserved_counts_once(world: World) -> None:
    mine = [{"Key": CLUSTER_TAG, "Value": CLUSTER}]
    for tags in (mine, [{"Key": "team", "Value": "other"}]):
        world.client("ec2").create_capacity_reservation(
            InstanceType="g4dn.2xlarge",
            InstancePlatform="Linux/UNIX",
            AvailabilityZone="us-east-1a",
            InstanceCount=1,
            TagSpecifications=[{"ResourceType": "capacity-reservation", "Tags": tags}],
        )
    world.says("quotas.json", {"L-DB2E81BA": 20})
    assert got(world.look()).startswith("8 vCPUs more (1 x g4dn.2xlarge), with 16 of 20 in use")


def test_a_region_without_such_machines_is_told_and_not_taken_for_zero(world: World) -> None:
    world.says("quotas.json", {"L-DB2E81BA": None})
    found = outcome(world.look(), "quota")
    assert found.result == "could not run"
    assert "does not list Running On-Demand G and VT instances (L-DB2E81BA) in us-east-1" in (
        found.unanswered
    )
    assert "list-service-quotas --service-code ec2 --region us-east-1`" in found.unanswered
    assert "no such machines" not in found.unanswered


def test_a_quota_that_may_not_be_read_stops_nothing(world: World) -> None:
    world.says("refusals.json", {"servicequotas:GetServiceQuota": "AccessDeniedException"})
    report = world.look()
    assert report.problems == ()
    assert "the right servicequotas:GetServiceQuota is missing" in (
        outcome(report, "quota").unanswered
    )


def test_throttling_is_waited_out_a_few_times_and_then_told(world: World) -> None:
    world.says("refusals.json", {"ec2:DescribeInstances": "RequestLimitExceeded"})
    report = world.look()
    assert report.problems == ()
    assert "AWS throttles DescribeInstances" in outcome(report, "quota").unanswered
    assert world.calls["ec2.DescribeInstances"] == 4


def test_expired_credentials_are_told_once_and_nothing_else_is_asked(world: World) -> None:
    world.says("refusals.json", {"sts:GetCallerIdentity": "ExpiredToken"})
    report = world.look()
    (problem,) = report.problems
    assert problem.got == "the AWS credentials have expired"
    assert "aws sso login" in problem.hint
    assert set(world.calls) == {"sts.GetCallerIdentity"}
    assert "canary" not in str(report)


@pytest.mark.parametrize(
    ("seconds", "which"), [(600, "10 minutes behind"), (-600, "10 minutes ahead of")]
)
def test_a_wrong_clock_is_told_as_one_and_not_as_wrong_credentials(
    world: World, seconds: int, which: str
) -> None:
    world.says("refusals.json", {"clock": seconds})
    report = world.look()
    (problem,) = report.problems
    assert problem.got == f"{which} AWS's"
    assert "set-ntp" in problem.hint
    assert outcome(report, "credentials").result == "could not run"


def test_a_clock_that_is_a_little_off_is_none(world: World) -> None:
    world.says("refusals.json", {"clock": 200})
    assert world.look().problems == ()


def test_a_wrong_secret_key_is_not_taken_for_a_wrong_clock(world: World) -> None:
    world.says("refusals.json", {"sts:GetCallerIdentity": "SignatureDoesNotMatch"})
    (problem,) = world.look().problems
    assert problem.got == "the AWS credentials are refused by AWS (SignatureDoesNotMatch)"


def test_a_misspelt_region_is_told_before_aws_is_asked(world: World) -> None:
    (problem,) = credentials(world.situation(region="us-est-1"))
    assert (problem.path, problem.got) == ("aws:region", "'us-est-1'")
    assert "did you mean 'us-east-1' or 'us-west-1'?" in problem.hint
    assert not world.calls


@pytest.mark.parametrize(
    ("got", "meant"),
    [("us-esat-1", "us-east-1"), ("eu-wset-1", "eu-west-1"), ("us-east1", "us-east-1")],
)
def test_swapped_letters_of_a_region_are_recognized(world: World, got: str, meant: str) -> None:
    (problem,) = credentials(world.situation(region=got))
    assert f"did you mean '{meant}'?" in problem.hint


def test_a_misspelt_region_is_that_of_the_files_own_zones(world: World) -> None:
    network = {"availabilityZones": ["us-east-1a", "us-east-1b"]}
    (problem,) = credentials(world.situation({**RAW, "network": network}, region="us-esat-1"))
    assert "did you mean 'us-east-1'?" in problem.hint


def existing_network(world: World, subnets: int) -> dict[str, Any]:
    """Keys of a stack file that name private subnets, an interface endpoint and a file system in a VPC of their own."""
    ec2, efs = world.client("ec2"), world.client("efs")
    number = len(ec2.describe_vpcs()["Vpcs"])
    block = f"10.{50 + number}"
    vpc = ec2.create_vpc(CidrBlock=f"{block}.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    options = ec2.create_dhcp_options(
        DhcpConfigurations=[{"Key": "domain-name-servers", "Values": ["AmazonProvidedDNS"]}]
    )["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=vpc)
    made = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"{block}.{index}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for index, zone in enumerate("abcdf"[:subnets])
    ]
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])[
        "RouteTables"
    ]
    hub = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    ec2.create_route(
        RouteTableId=table["RouteTableId"],
        DestinationCidrBlock="0.0.0.0/0",
        TransitGatewayId=hub,
    )
    group = ec2.create_security_group(GroupName="open", Description="open", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": f"{block}.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName="com.amazonaws.us-east-1.secretsmanager",
        VpcEndpointType="Interface",
        SubnetIds=made,
        SecurityGroupIds=[group],
        PrivateDnsEnabled=True,
    )
    folder = efs.create_file_system(CreationToken=vpc)["FileSystemId"]
    for each in made:
        efs.create_mount_target(FileSystemId=folder, SubnetId=each, SecurityGroups=[group])
    return {
        "network": {"vpcId": vpc, "subnetIds": made},
        "sharedFolder": {"fileSystemId": folder},
        "access": {"allowedCidrs": ["10.8.0.0/16"]},
    }


def test_twenty_followers_in_five_subnets_cost_as_many_calls_as_two_in_two(world: World) -> None:
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    world.client("kms").create_grant(
        KeyId=key, GranteePrincipal=AUTO_SCALING, Operations=GRANTED.split()
    )
    world.client("ec2").modify_ebs_default_kms_key_id(KmsKeyId=key)

    def calls(count: int, network: dict[str, Any]) -> Counter[str]:
        followers = {f"f{number}": {"profile": "t4"} for number in range(count - 1)}
        raw = {**RAW, "followers": {**followers, "fast": {"profile": "h100"}}, **network}
        world.calls.clear()
        report = world.look(raw)
        assert report.problems == ()
        assert outcome(report, "references").result == "passed"
        assert outcome(report, "references").remark == ""
        return world.calls.copy()

    five, two = existing_network(world, 5), existing_network(world, 2)
    twenty = calls(20, five)
    assert twenty == calls(2, two)
    for call in ("Instances", "Vpcs", "Subnets", "RouteTables", "VpcEndpoints", "SecurityGroups"):
        assert twenty[f"ec2.Describe{call}"] == 1, call
    assert twenty["ec2.DescribeVpcAttribute"] == 2  # AWS tells one attribute a call
    assert twenty["ec2.DescribeNetworkInterfaces"] == 2  # the cluster's, and those of mount targets
    assert twenty["efs.DescribeFileSystems"] == twenty["efs.DescribeMountTargets"] == 1
    assert twenty["kms.ListGrants"] == 1
    assert twenty["service-quotas.GetServiceQuota"] == 2
    assert (twenty["s3.HeadObject"], twenty["sts.GetCallerIdentity"]) == (2, 3)
    assert twenty.total() <= 43
    world.client("ec2").reset_ebs_default_kms_key_id()


@pytest.mark.parametrize(
    "denied",
    [
        "ec2:DescribeVpcAttribute",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeRouteTables",
        "ec2:DescribeVpcEndpoints",
        "ec2:DescribeNetworkInterfaces",
        "ec2:GetEbsDefaultKmsKeyId",
    ],
)
def test_what_may_not_be_read_of_a_network_stops_nothing_and_is_named(
    world: World, denied: str
) -> None:
    network = existing_network(world, 2)
    world.says("refusals.json", {denied: "UnauthorizedOperation"})
    wrong = {**network, "sharedFolder": {"fileSystemId": "fs-0123456789abcdef0"}}
    found = outcome(world.look({**RAW, **wrong}), "references")
    assert f"the right {denied} is missing" in found.unanswered
    (problem,) = found.problems
    assert problem.got.startswith("fs-0123456789abcdef0, which AWS does not show")


def test_a_default_key_that_auto_scaling_may_not_use_is_told_before_followers_die_of_it(
    world: World,
) -> None:
    assert outcome(world.look(), "references").result == "passed"
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    world.client("ec2").modify_ebs_default_kms_key_id(KmsKeyId=key)
    (problem,) = outcome(world.look(), "references").problems
    assert "aws kms create-grant" in problem.hint
    alone = {"gpuProfiles": RAW["gpuProfiles"], "leader": RAW["leader"]}
    assert outcome(world.look(alone), "references").problems == ()
    world.client("ec2").reset_ebs_default_kms_key_id()


def test_what_lacks_is_asked_for_once(world: World) -> None:
    world.says("quotas.json", {"L-DB2E81BA": 10, "L-3819A6DF": 64})
    (wanted,) = wanted_quotas(world.situation())
    assert (wanted.shortfall.value, wanted.open_request, wanted.enough) == (16, None, False)
    assert "`./cluster quota-request prod` asks AWS for 16" in hint(world.look())
    assert "pending" in ask(world.situation(), wanted)
    assert re.match(r"16 were asked for on \d{4}-\d\d-\d\d, which is pending; ", hint(world.look()))
    (again,) = wanted_quotas(world.situation())
    assert again.enough
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        ask(world.situation(), again)
    (more,) = wanted_quotas(
        world.situation({**RAW, "followers": {**RAW["followers"], "third": {"profile": "t4"}}})
    )
    assert (more.open_request is not None, more.enough) == (True, False)


def test_a_request_that_may_not_be_seen_hides_no_lack(world: World) -> None:
    world.says("quotas.json", {"L-3819A6DF": 0})
    world.says(
        "refusals.json",
        {
            "servicequotas:ListRequestedServiceQuotaChangeHistoryByQuota": "AccessDeniedException",
        },
    )
    assert "asks AWS for 8" in hint(world.look())


def test_requests_are_asked_for_only_where_a_quota_lacks(world: World) -> None:
    asked = "service-quotas.ListRequestedServiceQuotaChangeHistoryByQuota"
    world.look()
    assert world.calls[asked] == 0
    world.says("quotas.json", {"L-3819A6DF": 0})
    world.look()
    assert world.calls[asked] == 1


def test_a_quota_that_the_sandbox_does_not_know_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "quotas.json"
    file.write_text('{"L-DB2E81BB": 0}')
    with pytest.raises(ValueError, match="got L-DB2E81BB; allowed are L-DB2E81BA"):
        limits(file)
