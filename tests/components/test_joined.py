"""A stack of followers under mocks: everything of the leader's is taken, nothing of it is made."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from tests.components.test_hosts import followers as followers_on_hosts
from tests.components.test_hosts import specification as on_hosts
from tests.components.test_program import specification as on_aws
from tests.conftest import Deploy, deployed
from tests.harness import ANSWERS, LEADER_OUTPUTS, Recorder, stack_config

NAME = "graphistry-gpu-team"
NODES = ("research-1", "research-2")
JOIN: dict[str, Any] = LEADER_OUTPUTS["join"]

ON_HOSTS = {
    "version": 2,
    "site": "hosts",
    "cluster": "graphistry-cluster/lab",
    "leader": {
        "address": "10.77.0.10",
        "host": {
            "address": "leader.lab",
            "user": "operator",
            "port": 2222,
            "hostKey": stack_config("onprem")["graphistry-cluster:leader"]["host"]["hostKey"],
        },
    },
    "sharedFolder": {"kind": "nfs-on-leader"},
    "dataServices": "bundled",
    "release": {"version": "2.50.1", "cuda": "12", "source": "preinstalled"},
    "postgres": {"host": "10.77.0.10", "port": 5432},
    "redis": {"host": "10.77.0.10", "port": 6379},
}


def joined_hosts(monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy) -> Recorder:
    """The followers of the rehearsal's stack file, whose leader another stack has."""
    told = {"postgres": ON_HOSTS["postgres"], "redis": ON_HOSTS["redis"], "join": ON_HOSTS}
    monkeypatch.setattr("tests.harness.LEADER_OUTPUTS", told)
    return deploy_stack(
        "onprem-sandbox", leader={}, release={}, leaderStack="organization/graphistry-cluster/lab"
    )


def test_no_leader_network_shared_folder_or_secret_is_made() -> None:
    recorder = deployed("gpu-team")
    for kind in (
        "LeaderNode",
        "Instance",
        "Vpc",
        "Subnet",
        "SecurityGroup",
        "FileSystem",
        "Secret",
    ):
        assert not recorder.of(kind), kind
    assert {each.name for each in recorder.of("FollowerNode")} == {f"{NAME}-{n}" for n in NODES}


def test_followers_are_told_what_the_leaders_stack_says() -> None:
    recorder = deployed("gpu-team")
    for node in NODES:
        stored = recorder["BucketObjectv2", f"{NAME}-{node}-specification"]
        told = json.loads(stored.inputs["content"])
        assert told["cluster"] == JOIN["cluster"]
        assert told["endpoints"] == {each: LEADER_OUTPUTS[each] for each in ("postgres", "redis")}
        assert told["sharedFolder"]["fileSystemId"] == JOIN["sharedFolder"]["fileSystemId"]
        assert told["secret"]["arn"] == JOIN["secretArn"]
        assert told["release"]["version"] == JOIN["release"]["version"]


def test_machines_are_where_the_leaders_stack_has_mount_targets() -> None:
    for each in deployed("gpu-team").of("Group"):
        assert set(each.inputs["vpcZoneIdentifiers"]) <= {"subnet-a", "subnet-b"}


def test_roles_are_below_the_leaders_so_that_the_shared_folder_admits_them() -> None:
    roles = [each for each in deployed("gpu-team").of("Role") if "-fallback" not in each.name]
    assert roles
    for each in roles:
        assert each.inputs["path"].startswith(JOIN["rolePath"]), each.urn


def test_the_groups_say_whose_leader_they_have() -> None:
    for each in deployed("gpu-team").of("Group"):
        tags = {tag["key"]: tag["value"] for tag in each.inputs["tags"]}
        assert tags["graphistry-cluster:leader"] == JOIN["cluster"]
        assert tags["graphistry-cluster:cluster"] == "graphistry-cluster/gpu-team"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "has no leader: it was never deployed"),
        ({"join": {**JOIN, "version": 1}}, r"version 1, this program reads 2"),
        ({"join": {**JOIN, "site": "hosts"}}, "a cluster is on one site"),
        ({"join": {**JOIN, "region": "eu-west-1"}}, "a cluster is in one region"),
    ],
    ids=["destroyed", "version", "site", "region"],
)
@pytest.mark.parametrize("preview", [True, False])
def test_a_leader_that_cannot_be_joined_is_told_at_preview(
    monkeypatch: pytest.MonkeyPatch,
    deploy_stack: Deploy,
    change: dict[str, Any],
    told: str,
    *,
    preview: bool,
) -> None:
    outputs = {**LEADER_OUTPUTS, **change} if change else {}
    monkeypatch.setattr("tests.harness.LEADER_OUTPUTS", outputs)
    with pytest.raises(pulumi.RunError, match=told):
        deploy_stack("gpu-team", preview=preview)


@pytest.mark.parametrize("preview", [True, False])
def test_a_leader_whose_machine_is_gone_is_told_though_its_outputs_are_kept(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy, *, preview: bool
) -> None:
    token = "aws:ec2/getInstances:getInstances"
    monkeypatch.setitem(ANSWERS, token, lambda _: {"id": "us-east-1", "ids": []})
    told = "the leader of organization/graphistry-cluster/prod is gone: its machine was i-0123"
    with pytest.raises(pulumi.RunError, match=told):
        deploy_stack("gpu-team", preview=preview)
    assert deploy_stack("gpu-team", preview=preview, deleteData="gpu-team").of("FollowerNode")


def test_a_name_that_is_too_long_for_aws_is_refused(deploy_stack: Deploy) -> None:
    with pytest.raises(pulumi.RunError, match="28 characters in the cluster graphistry-gpu-team"):
        deploy_stack("gpu-team", followers={"a" * 29: {"profile": "l40s"}})


def test_followers_on_hosts_leave_before_the_leader_shuts_them_out(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy
) -> None:
    recorder = joined_hosts(monkeypatch, deploy_stack)
    admission = recorder["Command", "graphistry-onprem-sandbox-admission"]
    for node in followers_on_hosts():
        removal = recorder["Command", f"graphistry-onprem-sandbox-{node}-removal"]
        assert admission.urn in removal.dependencies


def test_a_leader_and_the_stack_of_another_are_not_both(deploy_stack: Deploy) -> None:
    with pytest.raises(pulumi.RunError, match="one of the two"):
        deploy_stack("gpu-team", leader={"profile": "l40s"})


def test_followers_on_hosts_get_the_secret_from_the_leader_of_the_other_stack(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy
) -> None:
    recorder = joined_hosts(monkeypatch, deploy_stack)
    assert not recorder.of("LeaderNode")
    for node in followers_on_hosts():
        relay = recorder["Command", f"graphistry-onprem-sandbox-{node}-secret"]
        text = json.dumps(relay.inputs["environment"], default=str)
        assert "leader.lab" in text
        stored = recorder["Command", f"graphistry-onprem-sandbox-{node}-specification"]
        told = json.loads(stored.inputs["stdin"])
        assert told["sharedFolder"]["server"] == "10.77.0.10"
        assert told["cluster"] == "graphistry-cluster/lab"


def test_the_leader_of_the_other_stack_is_told_whom_to_let_in(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy
) -> None:
    recorder = joined_hosts(monkeypatch, deploy_stack)
    admission = recorder["Command", "graphistry-onprem-sandbox-admission"]
    addresses = sorted(host["host"]["address"] for host in followers_on_hosts().values())
    assert sorted(admission.inputs["create"].split()[4:]) == addresses
    assert admission.inputs["delete"].endswith("operate.steps.host_admission")


def test_nodes_of_one_name_in_two_stacks_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy
) -> None:
    stored = deployed("gpu-team")["BucketObjectv2", f"{NAME}-research-1-specification"]
    assert json.loads(stored.inputs["content"])["folder"] == "gpu-team.research-1"
    assert on_aws(deployed("sandbox"), "small")["folder"] == "small"
    joined = on_hosts(joined_hosts(monkeypatch, deploy_stack), "small")["folder"]
    assert joined == "onprem-sandbox.small"


def test_followers_of_an_encrypted_leader_bring_it_their_keys(
    monkeypatch: pytest.MonkeyPatch, deploy_stack: Deploy
) -> None:
    monkeypatch.setitem(ON_HOSTS, "encryption", "wireguard")
    recorder = joined_hosts(monkeypatch, deploy_stack)
    for node in followers_on_hosts():
        carried = recorder["Command", f"graphistry-onprem-sandbox-{node}-tunnel"]
        assert "operate.steps.host_tunnel 10.77.0.10 10.77.0." in carried.inputs["create"]
        assert "leader.lab" in json.dumps(carried.inputs["environment"], default=str)
