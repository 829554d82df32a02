"""Whether nodes reach an existing EFS file system, asked of moto."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws
from moto.efs import efs_backends

from model.problems import Problem
from model.tags import CLUSTER_TAG
from preflight.mount_targets import reachable_folder
from preflight.situation import Remark
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import NFS, ExistingNetwork
from tests.preflight.situations import CLUSTER, REGION, aws_client, situation


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def found(raw: dict[str, Any]) -> list[Any]:
    return list(reachable_folder(situation(raw)))


def only(raw: dict[str, Any]) -> Problem:
    """The one problem."""
    (problem,) = found(raw)
    assert isinstance(problem, Problem)
    assert problem.path == "sharedFolder.fileSystemId"
    return problem


def test_mount_targets_where_the_nodes_are_have_no_problem() -> None:
    assert found(ExistingNetwork().with_folder()) == []


def test_a_stack_file_without_a_file_system_costs_no_call() -> None:
    assert list(reachable_folder(situation(SMALLEST, client=object()))) == []


def test_mount_targets_in_another_vpc_are_a_problem() -> None:
    made, other = ExistingNetwork(), ExistingNetwork()
    problem = only(made.stack(sharedFolder={"fileSystemId": other.folder()}))
    assert problem.got.endswith(f"whose mount targets are in {other.vpc}")
    assert problem.allowed == f"mount targets in {made.vpc}"


def test_a_new_vpc_cannot_have_mount_targets_before_it_is_made() -> None:
    made = ExistingNetwork()
    problem = only({**SMALLEST, "sharedFolder": {"fileSystemId": made.folder()}})
    assert problem.hint.startswith(f"set network.vpcId to {made.vpc}")


def test_a_network_of_the_clusters_own_may_have_them() -> None:
    made = ExistingNetwork()
    made.ec2.create_tags(Resources=made.subnets, Tags=[{"Key": CLUSTER_TAG, "Value": CLUSTER}])
    zones = {"network": {"availabilityZones": ["us-east-1a", "us-east-1b"]}}
    assert found({**SMALLEST, **zones, "sharedFolder": {"fileSystemId": made.folder()}}) == []


def test_no_mount_target_at_all_is_told_with_the_command() -> None:
    folder = aws_client("efs").create_file_system(CreationToken="bare")
    name = folder["FileSystemId"]
    problem = only(ExistingNetwork().stack(sharedFolder={"fileSystemId": name}))
    assert problem.got == f"{name} without a mount target"
    assert f"aws efs create-mount-target --file-system-id {name}" in problem.hint


def test_a_zone_in_use_without_a_mount_target_is_told() -> None:
    made = ExistingNetwork()
    name = made.folder(made.subnets[0])
    # a leader alone is in the first zone
    assert found(made.stack(sharedFolder={"fileSystemId": name})) == []
    followers = {"a": {"profile": "t4"}}
    problem = only(made.stack(sharedFolder={"fileSystemId": name}, followers=followers))
    assert problem.got == f"{name} without a mount target in us-east-1b, where nodes may be"
    assert made.subnets[1] in problem.hint
    here = {"a": {"profile": "t4", "availabilityZones": ["us-east-1a"]}}
    assert found(made.stack(sharedFolder={"fileSystemId": name}, followers=here)) == []


def test_a_mount_target_that_is_not_available_is_told() -> None:
    made = ExistingNetwork()
    raw = made.with_folder()
    targets = efs_backends["123456789012"][REGION].mount_targets_by_id
    next(iter(targets.values())).life_cycle_state = "creating"
    assert only(raw).got.endswith("in us-east-1a is creating")


@pytest.mark.parametrize(
    "rules",
    [[], [{**NFS[0], "FromPort": 443, "ToPort": 443}]],
)
def test_a_closed_mount_target_is_told_with_the_command(rules: list[dict[str, Any]]) -> None:
    made = ExistingNetwork()
    problems = found(made.stack(sharedFolder={"fileSystemId": made.folder(rules=rules)}))
    assert len(problems) == len(made.subnets)
    assert problems[0].got.endswith(f"is closed to {made.subnets[0]}")
    assert "--protocol tcp --port 2049 --cidr 10.40.0.0/24" in problems[0].hint


def test_a_group_that_admits_itself_alone_admits_no_node() -> None:
    """What a default security group does."""
    made = ExistingNetwork()
    name = made.folder(rules=[])
    group = made.ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["folder"]}]
    )["SecurityGroups"][0]["GroupId"]
    itself = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    made.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=itself)
    raw = made.stack(sharedFolder={"fileSystemId": name})
    assert all(isinstance(each, Problem) for each in found(raw))
    assert len(found(raw)) == len(made.subnets)


@pytest.mark.parametrize(("opened", "closed"), [(("leader", "followers"), 0), (("leader",), 2)])
def test_a_group_that_admits_the_clusters_groups_admits_nodes(
    opened: tuple[str, ...], closed: int
) -> None:
    made = ExistingNetwork()
    groups = {}
    for role in ("leader", "followers"):
        groups[role] = made.group([], role)
        tags = [{"Key": "Name", "Value": f"graphistry-prod-{role}"}]
        made.ec2.create_tags(Resources=[groups[role]], Tags=tags)
    pairs = [{"GroupId": groups[role]} for role in opened]
    rules = [{"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "UserIdGroupPairs": pairs}]
    raw = made.stack(sharedFolder={"fileSystemId": made.folder(rules=rules)})
    assert len(found(raw)) == closed


def test_a_part_of_a_subnet_that_is_let_in_is_remarked() -> None:
    made = ExistingNetwork()
    rules = [{**NFS[0], "IpRanges": [{"CidrIp": "10.40.0.0/25"}, {"CidrIp": "10.40.1.0/24"}]}]
    (remark,) = found(made.stack(sharedFolder={"fileSystemId": made.folder(rules=rules)}))
    assert isinstance(remark, Remark)
    assert made.subnets[0] in remark.text
