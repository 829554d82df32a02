"""What a person is told before a deployment: what each changed key does, what an image would replace, what is lost."""

import json
import re

import pytest
import yaml

from model.settings.hosts import ANY_HOST_KEY
from operate.stack.stack_file import named_hosts
from tests.deployment.checkout import Checkout
from tests.deployment.test_changes import outputs

VOLUME = "graphistry-sandbox-leader-data"


def test_preview_tells_of_each_changed_key_before_the_plan(deployed: Checkout) -> None:
    assert "changed key" not in deployed.succeed("preview")
    profiles, followers = deployed.setting("gpuProfiles"), deployed.setting("followers")
    small = {**followers["small"], "market": "spot"}
    deployed.change(
        followers={**followers, "small": small, "third": {"profile": "t4"}},
        tags={"team": "graph"},
    )
    shown = deployed.succeed("preview")
    deployed.change(followers=followers, gpuProfiles=profiles, tags={})
    told, plan = shown.split("Previewing update", 1)
    assert "followers.small.market" in told
    assert "replaces machine: bought so" in told
    assert "followers.third" in told
    assert "in place: no node notices" in told
    assert "graphistry-sandbox-third" in plan


def test_a_preview_is_short_and_ends_with_what_could_not_run_and_the_cost(
    deployed: Checkout,
) -> None:
    followers = deployed.setting("followers")
    deployed.change(
        followers={**followers, "small": {**followers["small"], "market": "spot"}},
    )
    refusals = deployed.root / ".sandbox" / "refusals.json"
    refusals.write_text('{"pricing:GetProducts": "AccessDeniedException"}')
    shown = deployed.succeed("preview")
    refusals.unlink()
    again = deployed.succeed("preview")
    deployed.change(followers=followers)
    refusals.write_text('{"pricing:GetProducts": "AccessDeniedException"}')
    done = deployed.succeed("up")
    refusals.unlink()
    assert len(re.findall("could not run(?= |:)", done)) == 2  # in the table, and at the end
    assert done.index("could not run: price") > done.index("node ")
    *plan, lacking, cost = shown.rstrip().splitlines()
    assert "could not run: price (AWS did not give its prices (AccessDeniedException)" in lacking
    assert re.search(r"costs in all [0-9.]+ USD an hour, [0-9,.]+ a month", cost)
    assert "could not run" not in again
    assert re.search(r"diff: .*mixedInstancesPolicy", "\n".join(plan))


def test_nothing_is_told_of_a_stack_that_was_never_deployed(checkout: Checkout) -> None:
    shown = checkout.succeed("preview")
    assert "changed key" not in shown
    assert "given up" not in shown


@pytest.mark.parametrize("command", ["preview", "up"])
def test_a_plan_that_replaces_the_data_volume_is_refused(deployed: Checkout, command: str) -> None:
    leader, kept = deployed.setting("leader"), outputs(deployed)["keptData"]
    deployed.change(leader={**leader, "availabilityZone": "us-east-1b"})
    done = deployed.operate(command)
    wrong = deployed.operate("up", "--name", "graphistry-sandbox-secret")
    deployed.change(leader=leader)
    for each in (done, wrong):
        assert each.returncode == 1
        assert "Previewing" not in each.stdout
        assert "Updating" not in each.stdout
        assert "Traceback" not in each.stdout
    assert "never: a data volume cannot leave its zone" in done.stdout
    assert kept["dataVolume"] in done.stdout
    assert f"type its name: ./cluster up sandbox --name {VOLUME}" in done.stdout
    assert "which this plan does not give up" in wrong.stdout
    assert outputs(deployed)["keptData"] == kept


@pytest.mark.parametrize("command", ["preview", "up"])
def test_changes_that_a_cluster_cannot_take_are_refused_all_at_once(
    deployed: Checkout, command: str
) -> None:
    leader, profiles = deployed.setting("leader"), deployed.setting("gpuProfiles")
    before = deployed.account()
    deployed.change(
        leader={**leader, "dataVolume": {"sizeGib": 20}},
        gpuProfiles={**profiles, "t4": {**profiles["t4"], "rootVolumeGib": 100}},
    )
    done = deployed.operate(command)
    deployed.change(leader=leader, gpuProfiles=profiles)
    assert done.returncode == 1
    assert "2 changes are refused" in done.stdout
    assert "AWS shrinks no volume" in done.stdout
    assert "AWS shrinks no disk" in done.stdout
    assert "Nothing was changed" in done.stdout
    for word in ("Previewing", "Updating", "Traceback"):
        assert word not in done.stdout
    assert deployed.account() == before


def test_another_order_of_the_zones_is_refused_until_the_leaders_zone_is_written(
    deployed: Checkout,
) -> None:
    leader, network = deployed.setting("leader"), deployed.setting("network")
    zone = outputs(deployed)["leader"]["availabilityZone"]
    others = [f"us-east-1{letter}" for letter in "abcdf" if not zone.endswith(letter)]
    deployed.change(network={**network, "availabilityZones": [*others, zone]})
    done = deployed.operate("up")
    deployed.change(leader={**leader, "availabilityZone": zone})
    told = deployed.succeed("preview")
    deployed.change(leader=leader, network=network)
    assert done.returncode == 1
    assert f"write leader.availabilityZone: {zone}" in done.stdout
    assert "Updating" not in done.stdout
    assert "never" not in told
    assert outputs(deployed)["leader"]["availabilityZone"] == zone


@pytest.mark.parametrize("right", ["ec2:DescribeInstanceTypeOfferings", "ssm:GetParameter"])
def test_a_right_that_the_program_lacks_is_told_in_a_sentence(
    deployed: Checkout, right: str
) -> None:
    refusals = deployed.root / ".sandbox" / "refusals.json"
    refusals.write_text(json.dumps({right: "AccessDeniedException"}))
    done = deployed.operate("preview")
    refusals.unlink()
    assert done.returncode
    assert f"the right {right} is needed by whoever deploys" in done.stdout
    assert "Traceback" not in done.stdout


def test_what_the_stack_file_names_and_aws_has_not_is_told_before_anything(
    checkout: Checkout,
) -> None:
    checkout.change(
        network={
            "vpcId": "vpc-0123456789abcdef0",
            "subnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        },
        sharedFolder={"fileSystemId": "fs-0123456789abcdef0"},
    )
    done = checkout.operate("up")
    assert done.returncode == 1
    assert "4 problems on the way to this deployment" in done.stdout
    for word in ("Previewing", "Updating", "Traceback"):
        assert word not in done.stdout


def test_a_plan_that_lets_go_of_the_shared_folder_is_refused(deployed: Checkout) -> None:
    efs, kept = deployed.client("efs"), outputs(deployed)["keptData"]
    other = efs.create_file_system(CreationToken="other")["FileSystemId"]
    for each in efs.describe_mount_targets(FileSystemId=kept["sharedFolder"])["MountTargets"]:
        efs.create_mount_target(FileSystemId=other, SubnetId=each["SubnetId"])
    deployed.change(sharedFolder={"fileSystemId": other})
    done = deployed.operate("up")
    deployed.change(sharedFolder={})
    assert done.returncode == 1
    assert kept["sharedFolder"] in done.stdout
    assert "--name graphistry-sandbox-shared-folder" in done.stdout
    assert outputs(deployed)["keptData"] == kept


def test_a_newer_image_is_shown_and_locked_and_replaces_the_leader_only_then(
    deployed: Checkout,
) -> None:
    ec2, before = deployed.client("ec2"), outputs(deployed)
    image = ec2.register_image(Name="newer", Architecture="x86_64", RootDeviceName="/dev/sda1")
    newer = image["ImageId"]
    # Another image exists; nothing happens, and the images of the parameter are the running ones.
    assert deployed.plan() == {}
    refused = deployed.operate("image-refresh", "--image", newer, "--driver", "550.1", "--yes")
    assert refused.returncode == 1
    assert "cannot run the release: the NVIDIA driver is 550.1" in refused.stdout
    asked = deployed.operate("image-refresh", "--image", newer, "--driver", "590.48.01")
    assert asked.returncode == 1
    assert "nothing was written" in asked.stdout
    assert deployed.plan() == {}
    shown = deployed.succeed(
        "image-refresh", "--image", newer, "--driver", "590.48.01", "--cuda", "13.1", "--yes"
    )
    assert "replaced; address and data stay" in shown
    assert shown.count("stays; its next machine has the new image") == 2
    assert "590.48.01 runs CUDA flavour 12" in shown
    assert deployed.setting("image")["lock"]["us-east-1"]["cuda"] == "13.1"
    told = deployed.succeed("preview").split("Previewing update", 1)[0]
    assert "image.lock.us-east-1" in told
    assert "given up" not in told
    plan = deployed.plan()
    assert "Instance graphistry-sandbox-leader" in plan["replace"]
    assert not any("data" in name and "Volume " in name for name in plan["replace"])
    deployed.succeed("up")
    after = outputs(deployed)
    assert after["leader"]["instanceId"] != before["leader"]["instanceId"]
    assert after["leader"]["address"] == before["leader"]["address"]
    assert after["keptData"] == before["keptData"]
    again = deployed.succeed("image-refresh", "--image", "running")
    assert "nothing: it runs that image" in again
    assert "that image is locked already" in again
    deployed.change(image={})
    assert deployed.plan() == {}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("image-refresh", "hosts have no machine image"),
        ("cost", "on hosts, which have neither quotas nor prices"),
        ("quota-request", "on hosts, which have neither quotas nor prices"),
    ],
)
def test_hosts_have_nothing_that_only_aws_has(checkout: Checkout, command: str, says: str) -> None:
    file = checkout.root / "stacks" / "Pulumi.onprem.yaml"
    content = yaml.safe_load(file.read_text())
    for _, host in named_hosts(content["config"]):
        host["hostKey"] = ANY_HOST_KEY
    file.write_text(yaml.safe_dump(content))
    done = checkout.operate(command, "onprem", "--target", "aws")
    assert done.returncode == 1
    assert says in done.stdout


def test_a_locked_stack_can_be_rehearsed_and_its_lock_is_not_touched(checkout: Checkout) -> None:
    path = checkout.root / "stacks" / "Pulumi.dev.yaml"
    text = path.read_text() + (
        "  graphistry-cluster:image:\n    release: preinstalled\n    lock: {us-east-1: {id: ami-0123456789abcdef0}}\n"
    )
    path.write_text(text)
    arguments = ("dev", "--target", "sandbox")
    assert "to create" in checkout.succeed("preview", *arguments)
    done = checkout.operate("image-refresh", "--yes", *arguments)
    assert done.returncode == 1
    assert "this is the sandbox" in done.stdout
    assert path.read_text() == text


def test_data_whose_name_was_typed_is_let_go_of_and_kept_by_aws(deployed: Checkout) -> None:
    leader, before = deployed.setting("leader"), outputs(deployed)["keptData"]
    deployed.change(leader={**leader, "availabilityZone": "us-east-1b"})
    done = deployed.succeed("up", "--name", VOLUME)
    after = outputs(deployed)["keptData"]
    assert after["dataVolume"] != before["dataVolume"]
    assert f"let go of {before['dataVolume']}, and AWS keeps it" in done
    assert deployed.client("ec2").describe_volumes(VolumeIds=[before["dataVolume"]])["Volumes"]
    volumes = [each for each in deployed.resources() if each["type"] == "aws:ebs/volume:Volume"]
    assert [(each["id"], each["protect"]) for each in volumes] == [(after["dataVolume"], True)]
