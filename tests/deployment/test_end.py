"""The end of a cluster: the machines go, the data stays until its name is typed."""

from collections import Counter
from typing import Any

from model.tags import BACKUPS_TAG, CLUSTER_TAG
from tests.deployment.checkout import Checkout

MACHINES = ("instances", "groups", "launch templates", "nat gateways", "addresses", "vpcs")
# The role is the one by which AWS goes on copying the volume.
DATA = ("volumes", "snapshot policies", "roles", "file systems", "buckets", "secrets")


def held(account: Counter[str]) -> set[str]:
    return {kind for kind, number in account.items() if number}


def test_destroy_takes_the_machines_and_keeps_the_data_and_up_takes_it_up_again(
    checkout: Checkout,
) -> None:
    checkout.succeed("up")
    full = checkout.account()
    before = kept(checkout)
    ended = checkout.pulumi("destroy", "--exclude-protected", "--yes", "--skip-preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after = checkout.account()
    assert all(after[kind] == 0 for kind in MACHINES), after
    # The secrets of the leader and of the followers.
    assert {kind: after[kind] for kind in DATA} == {**dict.fromkeys(DATA, 1), "secrets": 2}
    checkout.succeed("up")
    assert checkout.account() == full
    assert kept(checkout) == before


def test_purge_needs_the_name_of_the_stack_and_leaves_an_empty_account(checkout: Checkout) -> None:
    checkout.succeed("up")
    full, volumes = checkout.account(), set(kept(checkout).values())
    for wrong in ([], ["--name", "prod"]):
        refused = checkout.operate("purge", *wrong)
        assert refused.returncode == 1
        assert "Nothing was deleted" in refused.stdout
        assert checkout.account() == full
    purged = checkout.succeed("purge", "--name", "sandbox")
    assert held(checkout.account()) == set()
    (last,) = snapshots(checkout)
    assert last["VolumeId"] in volumes
    assert {each["Key"]: each["Value"] for each in last["Tags"]}[CLUSTER_TAG].endswith("/sandbox")
    assert f"{last['SnapshotId']} is its last snapshot" in purged
    assert "costs 5.00 USD a month at most" in purged
    again = checkout.operate("purge", "--name", "sandbox")
    assert again.returncode == 1
    assert "nothing to delete" in again.stdout


def test_data_that_was_kept_can_be_purged_later(checkout: Checkout) -> None:
    checkout.succeed("up")
    checkout.pulumi("destroy", "--exclude-protected", "--yes", "--skip-preview")
    checkout.succeed("purge", "--name", "sandbox")
    assert held(checkout.account()) == set()


def test_down_says_what_is_kept_and_why_and_stops_the_sandbox(checkout: Checkout) -> None:
    checkout.succeed("up")
    shown = checkout.succeed("down")
    for word in ("dataVolume", "sharedFolder", "secret", "bucket", "PostgreSQL"):
        assert word in shown
    assert not (checkout.root / ".sandbox" / "daemon.json").exists()
    again = checkout.succeed("up")
    assert "the sandbox was restarted since the last deployment" in again
    assert checkout.account()["instances"] == 3
    checkout.succeed("down")
    purged = checkout.succeed("purge", "--name", "sandbox")
    assert "there was nothing left to delete" in purged
    assert "nothing to delete" in checkout.operate("purge", "--name", "sandbox").stdout


def kept(checkout: Checkout) -> dict[str, str]:
    return {
        each["urn"]: each["id"]
        for each in checkout.resources()
        if each.get("protect") and each["type"].endswith((":Volume", ":FileSystem", ":Bucket"))
    }


def snapshots(checkout: Checkout) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkout.client("ec2").describe_snapshots(OwnerIds=["self"])[
        "Snapshots"
    ]
    return [each for each in found if each["VolumeId"].startswith("vol-") and each.get("Tags")]


def test_the_snapshot_policy_finds_the_data_volume_and_nothing_else(checkout: Checkout) -> None:
    checkout.succeed("up")
    (policy,) = checkout.client("dlm").get_lifecycle_policies()["Policies"]
    told = checkout.client("dlm").get_lifecycle_policy(PolicyId=policy["PolicyId"])["Policy"]
    (target,) = told["PolicyDetails"]["TargetTags"]
    tagged = [{"Name": f"tag:{target['Key']}", "Values": [target["Value"]]}]
    found = checkout.client("ec2").describe_volumes(Filters=tagged)["Volumes"]
    assert [each["VolumeId"] for each in found] == [
        each["id"] for each in checkout.resources() if each["type"] == "aws:ebs/volume:Volume"
    ]
    checkout.change(
        leader={
            **checkout.setting("leader"),
            "dataVolume": {"backups": {"everyHours": 6, "keepDays": 7}},
        }
    )
    assert checkout.plan() == {"update": ["LifecyclePolicy graphistry-sandbox-leader-backups"]}


def test_a_snapshot_takes_the_place_of_the_data_volume_once_the_machines_have_ended(
    checkout: Checkout,
) -> None:
    checkout.succeed("up")
    ec2 = checkout.client("ec2")
    name = "graphistry-sandbox-leader-data"
    (old,) = (
        each["id"] for each in checkout.resources() if each["type"] == "aws:ebs/volume:Volume"
    )
    snapshot = ec2.create_snapshot(VolumeId=old)["SnapshotId"]
    leader = checkout.setting("leader")
    checkout.change(leader={**leader, "dataVolume": {"snapshotId": snapshot}})

    early = checkout.operate("up", "--yes", "--name", name)
    assert early.returncode == 1
    assert (
        "First end the machines: ./cluster down sandbox; then ./cluster up sandbox --name"
        in early.stdout
    )

    # `./cluster down` would end the sandbox, and its AWS with it.
    checkout.pulumi("destroy", "--exclude-protected", "--yes", "--skip-preview")
    unnamed = checkout.operate("up", "--yes")
    assert unnamed.returncode == 1
    assert f"type its name: ./cluster up sandbox --name {name}" in unnamed.stdout
    restored = checkout.succeed("up", "--yes", "--name", name)
    assert f"the cluster has let go of {old}, and AWS keeps it" in restored
    (new,) = (
        each["id"] for each in checkout.resources() if each["type"] == "aws:ebs/volume:Volume"
    )
    found = {each["VolumeId"]: each for each in ec2.describe_volumes()["Volumes"]}
    assert found[new]["SnapshotId"] == snapshot
    assert found[new]["Attachments"]
    # Nobody writes to the old one any more, so nobody copies it.
    assert BACKUPS_TAG not in {each["Key"] for each in found[old]["Tags"]}

    checkout.change(leader=leader)
    assert checkout.plan() == {}
    checkout.succeed("up")
    assert kept(checkout)[_urn(checkout, name)] == new


def _urn(checkout: Checkout, name: str) -> str:
    (found,) = (
        each["urn"]
        for each in checkout.resources()
        if each["urn"].endswith(f"aws:ebs/volume:Volume::{name}")
    )
    return str(found)
