"""The program as a whole, run for every stack file."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from fnmatch import fnmatch, fnmatchcase
from typing import Any

import pulumi
import pytest

from model.rehearsal import DONE
from model.tags import ID_TAG
from tests.components.test_contracts import STACKS
from tests.conftest import Deploy, deployed
from tests.harness import (
    ANSWERS,
    Recorder,
    Registration,
    arn,
    deploy,
    run_program,
    stack_config,
)

FOLLOWER = {"profile": "t4"}


def followers(stack: str) -> dict[str, Any]:
    found: dict[str, Any] = stack_config(stack)["graphistry-cluster:followers"]
    return found


def changed(before: Recorder, after: Recorder) -> set[str]:
    """Names of what both register, with anything about it different."""
    return {
        f"{each.type.rsplit(':', 1)[-1]} {each.name}"
        for urn, each in before.registrations.items()
        if urn in after.registrations and comparable(each) != comparable(after.registrations[urn])
    }


def comparable(registration: Registration) -> tuple[object, ...]:
    return (
        json.dumps(registration.inputs, sort_keys=True, default=lambda asset: asset.path),
        registration.protect,
        registration.ignore_changes,
        registration.parent,
        registration.custom,
    )


def specification(recorder: Recorder, node: str) -> dict[str, Any]:
    stored = recorder["BucketObjectv2", f"graphistry-sandbox-{node}-specification"]
    document: dict[str, Any] = json.loads(stored.inputs["content"])
    return document


@pytest.mark.parametrize("stack", STACKS)
def test_preview_and_update_register_the_same(deploy_stack: Deploy, stack: str) -> None:
    planned, made = deploy_stack(stack, preview=True), deployed(stack)
    assert set(planned.registrations) == set(made.registrations)


@pytest.mark.parametrize("stack", STACKS)
def test_every_follower_of_the_stack_file_is_made(stack: str) -> None:
    made = {each.name for each in deployed(stack).of("FollowerNode")}
    assert made == {f"graphistry-{stack}-{name}" for name in followers(stack)}


def test_a_cluster_may_have_no_followers(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(followers={})
    assert not recorder.of("Group")
    assert recorder.of("Instance")


def test_adding_a_follower_leaves_every_other_registration_alone(deploy_stack: Deploy) -> None:
    before = deployed()
    after = deploy_stack(followers={**followers("sandbox"), "third": FOLLOWER})
    assert changed(before, after) == set()
    assert set(before.registrations) < set(after.registrations)


def test_adding_a_follower_on_spot_leaves_every_other_registration_alone(
    deploy_stack: Deploy,
) -> None:
    spot = {**FOLLOWER, "market": "spot"}
    before = deploy_stack(followers={**followers("sandbox"), "third": spot})
    after = deploy_stack(followers={**followers("sandbox"), "third": spot, "fourth": spot})
    assert changed(before, after) == set()


def test_removing_a_follower_leaves_every_other_registration_alone(deploy_stack: Deploy) -> None:
    remaining = dict(list(followers("sandbox").items())[:1])
    before, after = deployed(), deploy_stack(followers=remaining)
    assert changed(before, after) == set()
    gone = set(before.registrations) - set(after.registrations)
    assert gone
    assert all("-large" in urn for urn in gone)


def test_changed_workers_change_the_specifications_of_their_profile_only(
    deploy_stack: Deploy,
) -> None:
    profiles = stack_config("sandbox")["graphistry-cluster:gpuProfiles"]
    fewer = {**profiles["l4-quad"], "workersPerGpu": {"forge": 2}}
    after = deploy_stack(gpuProfiles={**profiles, "l4-quad": fewer})
    assert changed(deployed(), after) == converges("large")


def converges(*nodes: str) -> set[str]:
    """What a changed specification changes: itself, and the wait for what it says."""
    return {
        f"{kind} graphistry-sandbox-{node}-{part}"
        for node in nodes
        for kind, part in (("BucketObjectv2", "specification"), ("Command", "ready"))
    }


def test_every_node_is_waited_for() -> None:
    recorder = deployed()
    for node in ("leader", "small", "large"):
        stored = recorder["BucketObjectv2", f"graphistry-sandbox-{node}-specification"]
        wanted = hashlib.sha256(stored.inputs["content"].encode()).hexdigest()
        ready = recorder["Command", f"graphistry-sandbox-{node}-ready"]
        machine = "--instance" if node == "leader" else "--group"
        words = shlex.split(ready.inputs["create"])
        assert words[:6] == [
            "exec",
            ".venv/bin/python",
            "-m",
            "operate.steps.node_ready",
            "--node",
            node,
        ]
        assert words[words.index("--specification") + 1] == wanted
        assert words[words.index(machine) + 1]
        assert stored.urn in ready.dependencies


def test_no_follower_boots_before_its_specification_is_stored() -> None:
    recorder = deployed()
    for node in ("small", "large"):
        stored = recorder["BucketObjectv2", f"graphistry-sandbox-{node}-specification"]
        assert stored.urn in recorder["Group", f"graphistry-sandbox-{node}-group"].dependencies


def test_a_changed_release_changes_specifications_only(deploy_stack: Deploy) -> None:
    after = deploy_stack(release={"version": "2.50.2", "cuda": "12"})
    assert changed(deployed(), after) == converges("leader", "small", "large")


def test_followers_get_the_endpoints_of_the_leader() -> None:
    recorder = deployed()
    leader = recorder["LeaderNode", "graphistry-sandbox-leader"].outputs
    for node in ("small", "large"):
        endpoints = specification(recorder, node)["endpoints"]
        assert endpoints == {"postgres": leader["postgres"], "redis": leader["redis"]}
        assert endpoints["postgres"] == {
            "host": "leader.graphistry-sandbox.internal",
            "port": 5432,
        }


def test_each_profile_gives_its_own_gpus_and_workers() -> None:
    recorder = deployed()
    assert specification(recorder, "small")["gpu"] == {
        "instanceTypes": ["g4dn.2xlarge"],
        "gpusByType": {"g4dn.2xlarge": 1},
        "gpus": 1,
        "cudaVisibleDevices": "0",
        "forgeWorkers": 4,
        "streamglWorkers": 4,
        "daskWorkers": 1,
    }
    assert specification(recorder, "large")["gpu"]["cudaVisibleDevices"] == "0,1,2,3"
    assert specification(recorder, "large")["gpu"]["forgeWorkers"] == 16


def test_followers_read_their_own_secret_and_the_leader_alone_reads_the_administrators() -> None:
    recorder = deployed()
    arns = {each.name: arn(each.type, each.name, each.inputs) for each in recorder.of("Secret")}
    leaders, followers = (
        arns[f"graphistry-sandbox-{which}"] for which in ("secret", "followers-secret")
    )
    assert specification(recorder, "leader")["secret"] == {
        "arn": leaders,
        "followersArn": followers,
    }
    for node in ("small", "large"):
        assert specification(recorder, node)["secret"] == {"arn": followers, "followersArn": None}
        policy = recorder["RolePolicy", f"graphistry-sandbox-{node}-role"].inputs["policy"]
        assert followers in policy
        assert leaders not in policy
    assert deployed("sandbox").exports >= {"join", "keptData"}


def test_no_node_changes_a_secret_once_the_leader_is_ready() -> None:
    recorder = deployed()
    closed = recorder.of("SecretPolicy")
    assert {each.inputs["secretArn"] for each in closed} == {
        arn(each.type, each.name, each.inputs) for each in recorder.of("Secret")
    }
    ready = recorder["Command", "graphistry-sandbox-leader-ready"].urn
    for each in closed:
        assert ready in each.dependencies
        assert not each.protect
        statement = json.loads(each.inputs["policy"])["Statement"][0]
        assert statement["Effect"] == "Deny"
        assert set(statement["Action"]) == {
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecret",
        }
        roles = statement["Condition"]["ArnLike"]["aws:PrincipalArn"]
        nodes = [f"graphistry-sandbox-{node}-role" for node in ("leader", "small", "large")]
        for role in (recorder["Role", name] for name in nodes):
            assert fnmatch(arn(role.type, role.name, role.inputs), roles)
        # Those of a stack of followers are below.
        team = recorder["Role", nodes[0]].inputs["path"] + "gpu-team/"
        assert fnmatch(f"arn:aws:iam::123456789012:role{team}one", roles)


def denied(policy: str, action: str, principal: str) -> bool:
    """Whether a policy of a resource denies an action to a principal, as AWS evaluates ARNs without colons in them."""
    for each in json.loads(policy)["Statement"]:
        assert each["Effect"] == "Deny"
        assert each["Principal"] == {"AWS": "*"}
        assert set(each["Condition"]) <= {"ArnLike", "ArnNotLike"}
        values = {key: found["aws:PrincipalArn"] for key, found in each["Condition"].items()}
        like, unlike = values["ArnLike"], values.get("ArnNotLike", [])
        excepted = any(fnmatchcase(principal, pattern) for pattern in unlike)
        if action in each["Action"] and fnmatchcase(principal, like) and not excepted:
            return True
    return False


def test_no_role_of_a_node_but_the_leaders_reads_its_secret_whatever_it_is_allowed() -> None:
    recorder = deployed()
    policies = {each.name: each.inputs["policy"] for each in recorder.of("SecretPolicy")}
    leaders = policies["graphistry-sandbox-leader-secret-closed"]
    followers = policies["graphistry-sandbox-leader-followers-secret-closed"]
    account = "arn:aws:iam::123456789012"
    path = f"{account}:role/graphistry-cluster/sandbox/"
    read = "secretsmanager:GetSecretValue"
    admitted = {
        f"{path}graphistry-sandbox-leader-role",
        # Pulumi makes another one of these before the policy is written anew.
        f"{path}graphistry-sandbox-leader-role-0a1b2c3",
        f"{account}:role/administrator",
        f"{account}:role/graphistry-cluster/another/graphistry-another-leader-role-0a1b2c3",
        f"{account}:user/operator",
        f"{account}:root",
    }
    refused = {
        f"{path}graphistry-sandbox-small-role-0a1b2c3",
        f"{path}graphistry-sandbox-leader-role-leader-role-0a1b2c3",
        f"{path}graphistry-sandbox-leader-role-1-role-0a1b2c3",
        f"{path}gpu-team/graphistry-gpu-team-one-role-0a1b2c3",
        f"{path}gpu-team/graphistry-sandbox-leader-role-0a1b2c3",
    }
    assert {each for each in admitted | refused if denied(leaders, read, each)} == refused
    assert not [each for each in admitted | refused if denied(followers, read, each)]


def test_only_the_leader_may_fill_the_secret() -> None:
    may_fill = set()
    for each in deployed().of("RolePolicy"):
        if "secretsmanager:PutSecretValue" in each.inputs["policy"]:
            may_fill.add(each.name)
    assert may_fill == {"graphistry-sandbox-leader-role"}


def test_a_node_reaches_its_own_documents_only() -> None:
    recorder = deployed()
    for node in ("leader", "small", "large"):
        policy = recorder["RolePolicy", f"graphistry-sandbox-{node}-role"].inputs["policy"]
        statements = {each["Sid"]: each for each in json.loads(policy)["Statement"]}
        bucket = "arn:aws:s3:::graphistry-sandbox-documents"
        assert statements["WriteReport"]["Resource"] == [f"{bucket}/nodes/{node}/report.json"]
        assert statements["ReadSpecification"]["Resource"] == [
            f"{bucket}/nodes/{node}/specification.json",
            f"{bucket}/agent/*",
        ]


def test_a_release_in_s3_is_readable_and_nothing_beside_it(deploy_stack: Deploy) -> None:
    release = {
        "version": "2.50.1",
        "cuda": "12",
        "source": "s3://releases/graphistry-2.50.1.tar.gz",
        "sha256": "0" * 64,
    }
    policy = deploy_stack(release=release)["RolePolicy", "graphistry-sandbox-small-role"]
    assert "arn:aws:s3:::releases/graphistry-2.50.1.tar.gz" in policy.inputs["policy"]


def test_the_shared_folder_admits_only_the_roles_of_the_cluster() -> None:
    recorder = deployed()
    (policy,) = recorder.of("FileSystemPolicy")
    allow, others, deny = json.loads(policy.inputs["policy"])["Statement"]
    admitted = allow["Condition"]["ArnLike"]["aws:PrincipalArn"]
    assert admitted == "arn:aws:iam::123456789012:role/graphistry-cluster/sandbox/*"
    for node in ("leader", "small", "large"):
        role = recorder["Role", f"graphistry-sandbox-{node}-role"]
        assert role.inputs["path"] == "/graphistry-cluster/sandbox/"
    assert others["Effect"] == deny["Effect"] == "Deny"
    assert others["Condition"] == {"ArnNotLike": {"aws:PrincipalArn": admitted}}
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_address_of_the_leader_outlives_its_machine() -> None:
    recorder = deployed()
    machine = recorder["Instance", "graphistry-sandbox-leader"]
    assert machine.inputs["primaryNetworkInterface"] == {
        "networkInterfaceId": "graphistry-sandbox-leader-interface-id"
    }
    assert machine.delete_before_replace
    record = recorder["Record", "graphistry-sandbox-leader-name"]
    assert record.inputs["records"] == ["10.40.0.10"]


def test_an_image_that_was_looked_up_replaces_no_machine() -> None:
    recorder = deployed()
    assert recorder["Instance", "graphistry-sandbox-leader"].ignore_changes == ("ami",)
    for each in recorder.of("LaunchTemplate"):
        assert each.ignore_changes == ("imageId",)


def test_a_pinned_image_is_used(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(image={"id": "ami-00000000000000001"})
    leader = recorder["Instance", "graphistry-sandbox-leader"]
    assert leader.inputs["ami"] == "ami-00000000000000001"
    assert leader.ignore_changes == ()


def test_a_locked_image_is_used_in_its_region_only(deploy_stack: Deploy) -> None:
    lock = {"id": "ami-00000000000000001", "driver": "590.48.01"}
    recorder = deploy_stack(image={"lock": {"us-east-1": lock}})
    leader = recorder["Instance", "graphistry-sandbox-leader"]
    assert leader.inputs["ami"] == "ami-00000000000000001"
    assert leader.ignore_changes == ()
    for each in recorder.of("LaunchTemplate"):
        assert each.inputs["imageId"] == "ami-00000000000000001"
    elsewhere = deploy_stack(image={"lock": {"eu-west-1": lock}})
    leader = elsewhere["Instance", "graphistry-sandbox-leader"]
    assert leader.inputs["ami"] == "ami-0123456789abcdef0"
    assert leader.ignore_changes == ("ami",)


def test_an_image_that_its_publisher_deprecated_is_still_found(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    answer = ANSWERS["aws:ec2/getAmi:getAmi"]

    def remember(args: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(args.get("includeDeprecated", False))
        return answer(args)

    monkeypatch.setitem(ANSWERS, "aws:ec2/getAmi:getAmi", remember)
    deploy_stack(image={"id": "ami-00000000000000001"})
    assert asked == [True]


def test_graphistrys_image_of_the_marketplace_is_found_by_release_and_never_replaces(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, Any]] = []

    def sold(args: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(args)
        return {"id": "ami-00000000000000007", "rootDeviceName": "/dev/sda1"}

    monkeypatch.setitem(ANSWERS, "aws:ec2/getAmi:getAmi", sold)
    leader = deploy_stack(image={"marketplace": True})["Instance", "graphistry-sandbox-leader"]
    assert leader.inputs["ami"] == "ami-00000000000000007"
    assert leader.ignore_changes == ("ami",)
    (question,) = asked
    assert question["owners"] == ["679593333241"]
    assert question["mostRecent"] is True
    assert question["filters"][0]["values"][0].endswith("Z-v2.50.1-12*")


def test_a_release_that_the_marketplace_does_not_sell_is_told(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"failure": "Your query returned no results"}
    monkeypatch.setitem(ANSWERS, "aws:ec2/getAmi:getAmi", lambda _: nothing)
    with pytest.raises(pulumi.RunError, match=r"image.marketplace[\s\S]*v2.50.1-12"):
        deploy_stack(image={"marketplace": True})


def test_the_root_disk_of_a_follower_is_the_one_of_the_image() -> None:
    for each in deployed().of("LaunchTemplate"):
        assert each.inputs["blockDeviceMappings"][0]["deviceName"] == "/dev/xvda"


def test_an_image_that_aws_does_not_show_is_told(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"failure": "Your query returned no results"}
    monkeypatch.setitem(ANSWERS, "aws:ec2/getAmi:getAmi", lambda _: nothing)
    with pytest.raises(pulumi.RunError, match="ami-00000000000000001, which AWS does not show"):
        deploy_stack(image={"id": "ami-00000000000000001"})


def test_a_zone_the_user_names_is_not_ignored(deploy_stack: Deploy) -> None:
    volume = "Volume", "graphistry-sandbox-leader-data"
    assert "availabilityZone" in deployed()[volume].ignore_changes
    pinned = deploy_stack(leader={"profile": "t4", "availabilityZone": "us-east-1b"})
    assert "availabilityZone" not in pinned[volume].ignore_changes
    assert pinned[volume].inputs["availabilityZone"] == "us-east-1b"


def test_a_snapshot_that_the_user_names_is_not_ignored(deploy_stack: Deploy) -> None:
    volume = "Volume", "graphistry-sandbox-leader-data"
    assert "snapshotId" in deployed()[volume].ignore_changes
    snapshot = "snap-0123456789abcdef0"
    named = deploy_stack(leader={"profile": "t4", "dataVolume": {"snapshotId": snapshot}})
    assert named[volume].inputs["snapshotId"] == snapshot
    assert "snapshotId" not in named[volume].ignore_changes


def test_the_data_volume_is_copied_daily_and_once_more_before_it_is_deleted(
    deploy_stack: Deploy,
) -> None:
    name = "graphistry-sandbox-leader"
    policy = deployed()["LifecyclePolicy", f"{name}-backups"].inputs
    (schedule,) = policy["policyDetails"]["schedules"]
    assert (policy["state"], schedule["createRule"]["interval"]) == ("ENABLED", 24)
    assert schedule["retainRule"] == {"interval": 35, "intervalUnit": "DAYS"}
    tags = deployed()["Volume", f"{name}-data"].inputs["tags"]
    assert policy["policyDetails"]["targetTags"].items() <= tags.items()
    assert deployed()["Volume", f"{name}-data"].inputs["finalSnapshot"] is True
    off = {"profile": "t4", "dataVolume": {"backups": {"everyHours": 0}}}
    changed = deploy_stack(leader=off)["LifecyclePolicy", f"{name}-backups"].inputs
    assert changed["state"] == "DISABLED"


def test_the_snapshot_policies_of_two_states_with_one_stack_name_find_their_own_volume_alone(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_state(identity: str) -> tuple[Any, Any, Any]:
        tags = json.dumps({"tags": {ID_TAG: identity}})
        monkeypatch.setattr(
            "tests.harness.RECORDED",
            [{"type": "pulumi:providers:aws", "outputs": {"defaultTags": tags}}],
        )
        made, name = deploy_stack(), "graphistry-sandbox-leader"
        (delete,) = (
            each
            for each in json.loads(made["RolePolicy", f"{name}-backups-role"].inputs["policy"])[
                "Statement"
            ]
            if each["Action"] == "ec2:DeleteSnapshot"
        )
        return (
            made["LifecyclePolicy", f"{name}-backups"].inputs["policyDetails"]["targetTags"],
            made["Volume", f"{name}-data"].inputs["tags"],
            delete["Condition"],
        )

    ours, our_volume, our_copies = of_state("0123456789ab")
    theirs, their_volume, their_copies = of_state("ba9876543210")
    # Of several tags a volume needs only one.
    assert len(ours) == len(theirs) == 1
    assert ours.items() <= our_volume.items()
    assert theirs.items() <= their_volume.items()
    assert not ours.items() & their_volume.items()
    assert our_copies != their_copies


def test_only_allowed_networks_reach_the_web_pages(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(access={"allowedCidrs": ["10.8.0.0/16"]})
    opened = {
        (each.name.split("-")[2], each.inputs["fromPort"])
        for each in recorder.of("SecurityGroupIngressRule")
        if each.inputs.get("cidrIpv4") == "10.8.0.0/16"
    }
    assert opened == {(role, port) for role in ("leader", "followers") for port in (80, 443)}


def test_security_groups_open_no_port_of_telemetry(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(access={"allowedCidrs": ["10.8.0.0/16"]})
    rules = recorder.of("SecurityGroupIngressRule")
    assert all(each.inputs["fromPort"] == each.inputs["toPort"] for each in rules)
    assert {each.inputs["fromPort"] for each in rules} == {80, 443, 2049, 5432, 6379}


def test_an_existing_network_is_used_and_not_changed(deploy_stack: Deploy) -> None:
    network = {
        "vpcId": "vpc-0123456789abcdef0",
        "subnetIds": ["subnet-0123456789abcdefa", "subnet-0123456789abcdefb"],
    }
    recorder = deploy_stack(network=network)
    assert not recorder.of("Vpc")
    interface = recorder["NetworkInterface", "graphistry-sandbox-leader-interface"]
    assert interface.inputs["subnetId"] == "subnet-0123456789abcdefa"


def test_an_existing_file_system_is_used_and_not_kept_by_us(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(sharedFolder={"fileSystemId": "fs-0123456789abcdef0"})
    assert not recorder.of("FileSystem")
    assert specification(recorder, "small")["sharedFolder"]["fileSystemId"] == (
        "fs-0123456789abcdef0"
    )


def test_spot_falls_back_to_on_demand(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(followers={"cheap": {**FOLLOWER, "market": "spot"}})
    distribution = recorder["Group", "graphistry-sandbox-cheap-group"].inputs[
        "mixedInstancesPolicy"
    ]["instancesDistribution"]
    assert distribution["onDemandPercentageAboveBaseCapacity"] == 0
    (rule,) = recorder.of("EventRule")
    group = recorder["Group", "graphistry-sandbox-cheap-group"]
    pattern = json.loads(rule.inputs["eventPattern"])
    assert pattern["detail"] == {"AutoScalingGroupName": [f"{group.name}-1234567"]}


def test_only_a_group_on_spot_keeps_the_percentage_that_it_has(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(followers={"cheap": {**FOLLOWER, "market": "spot"}, "dear": FOLLOWER})
    cheap, dear = (
        recorder["Group", f"graphistry-sandbox-{each}-group"] for each in ("cheap", "dear")
    )
    distribution = "mixedInstancesPolicy.instancesDistribution"
    assert cheap.ignore_changes == (f"{distribution}.onDemandPercentageAboveBaseCapacity",)
    assert dear.ignore_changes == ()
    # AWS's own would replace machines for an old change of the template.
    assert "instanceRefresh" not in cheap.inputs


def test_slow_machines_and_mount_targets_have_time_to_end() -> None:
    recorder = deployed()
    ends = {
        kind: {each.timeouts.get("delete") for each in recorder.of(kind)}
        for kind in ("Group", "Instance", "VolumeAttachment", "MountTarget")
    }
    assert ends == {
        "Group": {"60m"},
        "Instance": {"60m"},
        "VolumeAttachment": {"30m"},
        "MountTarget": {"30m"},
    }
    (leader,) = recorder.of("Instance")
    assert leader.timeouts["update"] == "60m"  # it stops for another type


def test_without_spot_there_is_no_fallback() -> None:
    assert not deployed().of("SpotFallback")


def test_the_name_of_the_stack_under_delete_data_lifts_the_protection(
    deploy_stack: Deploy,
) -> None:
    recorder = deploy_stack(deleteData="sandbox")
    assert not any(each.protect or each.retain_on_delete for each in recorder)
    (bucket,) = recorder.of("Bucket")
    assert bucket.inputs["forceDestroy"] is True


@pytest.mark.parametrize("wrong", ["prod", "true", "yes", "SANDBOX"])
def test_no_other_word_under_delete_data_lifts_the_protection(
    deploy_stack: Deploy, wrong: str
) -> None:
    kept = {each.urn for each in deployed() if each.protect}
    assert kept
    assert {each.urn for each in deploy_stack(deleteData=wrong) if each.protect} == kept


def test_the_region_is_asked_the_same_few_questions_for_any_number_of_followers(
    deploy_stack: Deploy,
) -> None:
    few = deployed()
    many = deploy_stack(followers={f"follower-{n}": FOLLOWER for n in range(20)})
    assert sorted(few.invokes) == sorted(many.invokes)


def test_every_problem_of_placement_is_told_at_once(deploy_stack: Deploy) -> None:
    profiles = {
        "t4": {"instanceTypes": ["g4dn.xlarge"]},
        "b200": {"instanceTypes": ["p6-b200.48xlarge"]},
    }
    with pytest.raises(pulumi.RunError) as raised:
        deploy_stack(
            gpuProfiles=profiles,
            followers={"one": {"profile": "b200"}, "two": {"profile": "b200"}},
        )
    assert "2 problems" in str(raised.value)
    assert "followers.one" in str(raised.value)
    assert "followers.two" in str(raised.value)
    assert "no zone of this region offers p6-b200.48xlarge" in str(raised.value)


def test_a_name_that_is_too_long_for_aws_is_refused(deploy_stack: Deploy) -> None:
    with pytest.raises(pulumi.RunError, match="29 characters in the cluster graphistry-sandbox"):
        deploy_stack(followers={"a" * 30: FOLLOWER})


def test_a_misspelt_region_is_refused(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stack_config("sandbox") | {"aws:region": "us-est-1"}
    monkeypatch.setattr("tests.conftest.stack_config", lambda _: config)
    monkeypatch.setenv(DONE, "")
    with pytest.raises(pulumi.RunError, match=r"us-est-1.*\n.*\n.*did you mean 'us-"):
        deploy_stack()


def test_a_misspelt_key_of_the_stack_file_is_refused(deploy_stack: Deploy) -> None:
    with pytest.raises(pulumi.RunError, match="folowers"):
        deploy_stack(folowers={})


@pytest.mark.parametrize(
    ("stack", "key", "told"),
    [
        ("dev", "aws:secretKey", "what sounds like a credential"),
        ("dev", "aws:profile", "a key that nothing reads"),
        ("dev", "graphistry-clustr:leader", "did you mean graphistry-cluster:leader?"),
        ("onprem", "graphistry-cluster:sshPrivateKey", "a private key for everybody to read"),
        ("dev", "graphistry-cluster:secretEnv", "a map from the name of a variable"),
    ],
)
def test_plain_pulumi_refuses_keys_in_the_words_of_the_commands(
    monkeypatch: pytest.MonkeyPatch, stack: str, key: str, told: str
) -> None:
    config = {**stack_config(stack), key: "canary"}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in config.items()
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", "[]")
    monkeypatch.setenv(DONE, "done")
    with pytest.raises(pulumi.RunError) as refused:
        deploy(run_program, stack=stack)
    assert told in str(refused.value)
    assert "canary" not in str(refused.value)
