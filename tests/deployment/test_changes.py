"""What a change of a running cluster does, with the real engine."""

import json
from typing import Any

import pytest

from tests.deployment.checkout import Checkout


def test_a_second_deployment_changes_nothing(deployed: Checkout) -> None:
    assert deployed.plan("--refresh") == {}
    assert "unchanged" in deployed.succeed("up")


def test_show_lists_every_node_for_scripts(deployed: Checkout) -> None:
    printed = deployed.succeed("status", "--json")
    nodes = json.loads(printed[printed.index("[") :])
    assert [(each["name"], each["role"]) for each in nodes] == [
        ("leader", "leader"),
        ("large", "follower"),
        ("small", "follower"),
    ]
    assert nodes[1]["machine"]["instance_type"] == "g6.12xlarge"


def test_outputs_are_a_line_each_or_a_document_for_scripts(deployed: Checkout) -> None:
    printed = deployed.succeed("outputs", "--json")
    document = json.loads(printed[printed.index("{") :])
    assert set(document) >= {"postgres", "redis", "bucket", "leader", "followers", "join"}
    lines = deployed.succeed("outputs").splitlines()
    assert f"bucket: {document['bucket']}" in lines
    command = document["followers"]["small"]["newMachine"]
    assert len(command) > 80
    assert f"followers.small.newMachine: {command}" in lines


def test_a_stack_that_was_never_deployed_has_no_outputs(checkout: Checkout) -> None:
    checkout.succeed("preview")
    refused = checkout.operate("outputs")
    assert refused.returncode == 1
    assert "the stack sandbox has no outputs; `./cluster up sandbox` makes them" in refused.stdout


def test_adding_a_follower_touches_nothing_else(deployed: Checkout) -> None:
    before = deployed.setting("followers")
    deployed.change(followers={**before, "third": {"profile": "t4", "market": "spot"}})
    plan = deployed.plan()
    deployed.change(followers=before)
    assert set(plan) == {"create"}
    assert all("-third" in name or "-spot-fallback" in name for name in plan["create"])


def test_a_follower_is_added_renamed_removed_and_added_again(deployed: Checkout) -> None:
    before = deployed.setting("followers")
    empty = deployed.account()
    for name in ("third", "fourth"):
        deployed.change(followers={**before, name: {"profile": "t4"}})
        deployed.succeed("up")
        assert deployed.account()["instances"] == empty["instances"] + 1
    deployed.change(followers=before)
    deployed.succeed("up")
    assert deployed.account() == empty
    deployed.change(followers={**before, "third": {"profile": "t4"}})
    deployed.succeed("up")
    deployed.change(followers=before)
    deployed.succeed("up")
    assert deployed.account() == empty


def test_changed_workers_change_one_object(deployed: Checkout) -> None:
    profiles = deployed.setting("gpuProfiles")
    deployed.change(
        gpuProfiles={**profiles, "l4-quad": {**profiles["l4-quad"], "workersPerGpu": {"forge": 2}}}
    )
    plan = deployed.plan()
    assert plan == {
        "update": [
            "BucketObjectv2 graphistry-sandbox-large-specification",
            "Command graphistry-sandbox-large-ready",
        ]
    }
    deployed.succeed("up")
    stored = deployed.client("s3").get_object(
        Bucket=bucket(deployed), Key="nodes/large/specification.json"
    )
    assert json.loads(stored["Body"].read())["gpu"]["forgeWorkers"] == 8
    deployed.change(gpuProfiles=profiles)
    deployed.succeed("up")


def test_a_leader_type_that_aws_has_not_is_refused_while_the_old_machine_serves(
    deployed: Checkout,
) -> None:
    profiles, leader = deployed.setting("gpuProfiles"), deployed.setting("leader")
    before = outputs(deployed)["leader"]
    shortages = deployed.root / ".sandbox" / "shortages.json"
    shortages.write_text(json.dumps({"g6.2xlarge": "InsufficientInstanceCapacity"}))
    deployed.change(
        gpuProfiles={**profiles, "larger": {"instanceTypes": ["g6.2xlarge"]}},
        leader={**leader, "profile": "larger"},
    )
    refused = deployed.operate("up")
    shortages.unlink()
    deployed.change(gpuProfiles=profiles, leader=leader)
    assert refused.returncode
    assert "do not have sufficient g6.2xlarge capacity" in refused.stdout
    assert (
        "leader-capacity: InsufficientInstanceCapacity: AWS has no such machine free in this zone"
        in (" ".join(refused.stdout.split()))
    )
    (reservations,) = deployed.client("ec2").describe_instances(InstanceIds=[before["instanceId"]])[
        "Reservations"
    ]
    (machine,) = reservations["Instances"]
    assert (machine["State"]["Name"], machine["InstanceType"]) == ("running", "g4dn.2xlarge")
    deployed.succeed("up")
    assert outputs(deployed)["leader"] == before


def test_a_changed_leader_type_keeps_address_and_data(deployed: Checkout) -> None:
    profiles = deployed.setting("gpuProfiles")
    leader = deployed.setting("leader")
    before = outputs(deployed)
    deployed.change(
        gpuProfiles={**profiles, "larger": {"instanceTypes": ["g4dn.4xlarge"]}},
        leader={**leader, "profile": "larger"},
    )
    deployed.succeed("up")
    after = outputs(deployed)
    assert after["leader"]["instanceType"] == "g4dn.4xlarge"
    for key in ("address", "hostName"):
        assert after["leader"][key] == before["leader"][key]
    assert after["keptData"] == before["keptData"]
    deployed.change(gpuProfiles=profiles, leader=leader)
    deployed.succeed("up")


@pytest.mark.parametrize("drift", ["tag", "rule", "specification", "metadata", "throughput"])
def test_drift_is_found_and_repaired(deployed: Checkout, drift: str) -> None:
    inject(deployed, drift)
    assert deployed.plan("--refresh") != {}
    deployed.succeed("up")
    assert deployed.plan("--refresh") == {}


def inject(deployed: Checkout, drift: str) -> None:
    """Change the account behind Pulumi's back."""
    found = outputs(deployed)
    ec2 = deployed.client("ec2")
    leader = found["leader"]["instanceId"]
    if drift == "tag":
        ec2.create_tags(Resources=[leader], Tags=[{"Key": "Name", "Value": "somebody-else"}])
    elif drift == "rule":
        rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
        redis = next(
            each for each in rules if each.get("FromPort") == 6379 and not each["IsEgress"]
        )
        ec2.revoke_security_group_ingress(
            GroupId=redis["GroupId"], SecurityGroupRuleIds=[redis["SecurityGroupRuleId"]]
        )
    elif drift == "specification":
        deployed.client("s3").put_object(
            Bucket=found["bucket"], Key="nodes/small/specification.json", Body=b"{}"
        )
    elif drift == "metadata":
        ec2.modify_instance_metadata_options(InstanceId=leader, HttpTokens="optional")
    else:
        ec2.modify_volume(VolumeId=found["keptData"]["dataVolume"], Throughput=500, Iops=4000)


def test_plain_pulumi_works_with_the_environment_of_the_readme(deployed: Checkout) -> None:
    done = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "sandbox")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged" in done.stdout


def test_no_secret_is_in_state_or_user_data(deployed: Checkout) -> None:
    canary = "canary-c0ffee"
    found = outputs(deployed)
    deployed.client("secretsmanager").put_secret_value(
        SecretId=found["keptData"]["secret"], SecretString=canary
    )
    shown = deployed.operate("up", environment={"AWS_SECRET_ACCESS_KEY": canary})
    assert shown.returncode == 0
    assert canary not in shown.stdout
    assert canary not in deployed.state()
    attribute = deployed.client("ec2").describe_instance_attribute(
        InstanceId=found["leader"]["instanceId"], Attribute="userData"
    )
    assert canary not in json.dumps(attribute)
    assert canary not in json.dumps(deployed.plan("--refresh"))


def outputs(deployed: Checkout) -> dict[str, Any]:
    done = deployed.pulumi("stack", "output", "--json", "--show-secrets", "--stack", "sandbox")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bucket(deployed: Checkout) -> str:
    return str(outputs(deployed)["bucket"])


def test_another_instance_type_replaces_the_machine_of_that_follower_only(
    deployed: Checkout,
) -> None:
    profiles = deployed.setting("gpuProfiles")
    before = machines(deployed)
    deployed.change(gpuProfiles={**profiles, "l4-quad": {"instanceTypes": ["g6.24xlarge"]}})
    deployed.succeed("up")
    after = machines(deployed)
    assert after["large"]["instance_type"] == "g6.24xlarge"
    assert after["large"]["instance_id"] != before["large"]["instance_id"]
    assert after["small"] == before["small"]
    assert after["leader"] == before["leader"]
    deployed.change(gpuProfiles=profiles)
    deployed.succeed("up")


def test_more_workers_leave_every_machine_alone(deployed: Checkout) -> None:
    profiles = deployed.setting("gpuProfiles")
    before = machines(deployed)
    deployed.change(
        gpuProfiles={**profiles, "t4": {**profiles["t4"], "workersPerGpu": {"forge": 3}}}
    )
    deployed.succeed("up")
    assert machines(deployed) == before
    deployed.change(gpuProfiles=profiles)
    deployed.succeed("up")


def machines(deployed: Checkout) -> dict[str, Any]:
    printed = deployed.succeed("status", "--json")
    return {each["name"]: each["machine"] for each in json.loads(printed[printed.index("[") :])}


def test_a_new_tag_and_then_a_further_type_leave_every_machine_alone(deployed: Checkout) -> None:
    """The tag is another version of the launch template, the type another policy of the group."""
    profiles, before = deployed.setting("gpuProfiles"), machines(deployed)
    deployed.change(tags={"team": "graphs"})
    deployed.succeed("up")
    further = [*profiles["l4-quad"]["instanceTypes"], "g6.24xlarge"]
    deployed.change(gpuProfiles={**profiles, "l4-quad": {"instanceTypes": further}})
    deployed.succeed("up")
    assert machines(deployed) == before
    deployed.change(gpuProfiles=profiles, tags={})
    deployed.succeed("up")
    assert machines(deployed) == before


def test_a_follower_that_fell_back_to_on_demand_stays_and_another_market_is_another_machine(
    deployed: Checkout,
) -> None:
    followers, autoscaling = deployed.setting("followers"), deployed.client("autoscaling")
    spot = {**followers, "small": {**followers["small"], "market": "spot"}}
    on_demand = machines(deployed)["small"]["instance_id"]
    deployed.change(followers=spot)
    plan = deployed.plan()
    assert plan["replace"] == ["Group graphistry-sandbox-small-group"], plan
    deployed.succeed("up")
    bought = machines(deployed)["small"]
    assert bought["instance_id"] != on_demand
    assert bought["spot"]
    # What the automation of the spot fallback does, and then AWS.
    group = outputs(deployed)["followers"]["small"]["group"]
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=group,
        MixedInstancesPolicy={
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100}
        },
    )
    fell_back = machines(deployed)["small"]
    assert not fell_back["spot"]
    deployed.succeed("up")
    assert machines(deployed)["small"] == fell_back
    profiles = deployed.setting("gpuProfiles")
    further = [*profiles["t4"]["instanceTypes"], "g4dn.4xlarge"]
    deployed.change(gpuProfiles={**profiles, "t4": {**profiles["t4"], "instanceTypes": further}})
    done = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "sandbox")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machines(deployed)["small"] == fell_back
    words = outputs(deployed)["followers"]["small"]["newMachine"].split()
    assert words[:2] == ["pulumi", "up"]
    done = deployed.pulumi(*(word.strip("'") for word in words[1:]), "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    asked_for = machines(deployed)["small"]
    assert asked_for["spot"]
    assert asked_for["instance_id"] != fell_back["instance_id"]
    deployed.change(gpuProfiles=profiles, followers=followers)
    deployed.succeed("up")
    assert not machines(deployed)["small"]["spot"]
