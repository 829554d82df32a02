"""Snapshot policies and the last snapshot of a volume, as the provider and the operator's commands meet them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from model.tags import CLUSTER_TAG, ID_TAG
from operate.stack.kept_data import VOLUME, Loss, final_snapshots, snapshot_of_purged
from operate.stack.recover import FINDERS
from tests.deployment.checkout import aws_client
from tests.sandbox.engine import Engine, RefusedError
from tests.sandbox.test_round_trip import snapshots

POLICY = "aws:dlm/lifecyclePolicy:LifecyclePolicy"


def wanted(role: str, cluster: str) -> dict[str, Any]:
    return {
        "description": "data",
        "executionRoleArn": role,
        "policyDetails": {
            "resourceTypes": ["VOLUME"],
            "targetTags": {"graphistry-cluster:backups": cluster},
            "schedules": [snapshots(24, 35)],
        },
    }


def test_a_policy_that_an_interrupted_run_made_is_found_by_the_tag_of_its_volume(
    engine: Engine, world: SimpleNamespace, endpoint: str
) -> None:
    trust = json.dumps(world.assume).replace("ec2.", "dlm.")
    role = engine.create("aws:iam/role:Role", assumeRolePolicy=trust).outputs["arn"]
    made = engine.create(POLICY, **wanted(role, "p/one"), tags={ID_TAG: "ours"})
    service, find = FINDERS[POLICY]

    def found(cluster: str, identity: str) -> str | None:
        inputs = {**wanted(role, cluster), "tagsAll": {ID_TAG: identity}}
        return find(aws_client(service, endpoint), inputs)

    assert found("p/one", "ours") == made.id
    assert found("p/two", "ours") is None
    assert found("p/one", "a colleague's") is None


def test_a_role_that_the_service_cannot_take_is_refused(
    engine: Engine, world: SimpleNamespace
) -> None:
    role = engine.create("aws:iam/role:Role", assumeRolePolicy=json.dumps(world.assume)).outputs[
        "arn"
    ]
    with pytest.raises(RefusedError, match="Unable to assume the role"):
        engine.create(POLICY, **wanted(role, "p/one"))


def deployment_of(stack: str, endpoint: str) -> Any:
    """What is asked of a deployment: names, and clients of the sandbox's AWS."""
    return SimpleNamespace(
        cluster=f"p/{stack}",
        stack=stack,
        region="us-east-1",
        client=lambda service: aws_client(service, endpoint),
    )


def test_the_last_snapshot_of_a_deleted_volume_is_named_with_what_it_costs(
    engine: Engine, endpoint: str
) -> None:
    deployment = deployment_of("one", endpoint)
    volume = engine.create(
        VOLUME,
        availabilityZone="us-east-1a",
        size=40,
        finalSnapshot=True,
        tags={CLUSTER_TAG: "p/one", "Name": "data"},
    )
    lost = [Loss(urn="urn::data", type=VOLUME, identity=volume.id)]
    assert final_snapshots(deployment, lost) == {}  # it is still there
    engine.delete(volume)
    told = final_snapshots(deployment, lost)[volume.id]
    (last,) = aws_client("ec2", endpoint).describe_snapshots(
        Filters=[{"Name": "volume-id", "Values": [volume.id]}]
    )["Snapshots"]
    assert f"{last['SnapshotId']} is its last snapshot, 40 GiB" in told
    assert "2.00 USD a month at most" in told


def test_without_a_last_snapshot_that_is_said(engine: Engine, endpoint: str) -> None:
    deployment = deployment_of("one", endpoint)
    volume = engine.create(VOLUME, availabilityZone="us-east-1a", size=40)
    engine.delete(volume)
    lost = [Loss(urn="urn::data", type=VOLUME, identity=volume.id)]
    assert "no snapshot of it is there" in final_snapshots(deployment, lost)[volume.id]


def test_of_a_volume_that_no_state_knows_any_more_the_last_snapshot_is_found_by_its_tags(
    engine: Engine, endpoint: str
) -> None:
    deployment = deployment_of("gone", endpoint)
    assert "us-east-1 a snapshot of it" in snapshot_of_purged(deployment, "ours")
    tags = {CLUSTER_TAG: "p/gone", "Name": "graphistry-gone-leader-data"}
    place: dict[str, Any] = {
        "availabilityZone": "us-east-1a",
        "size": 40,
        "finalSnapshot": True,
    }
    ours, theirs, root = (
        engine.create(VOLUME, **place, tags={**tags, **own})
        for own in ({ID_TAG: "ours"}, {ID_TAG: "theirs"}, {"Name": "root"})
    )
    for each in (ours, theirs, root):
        engine.delete(each)
    told = snapshot_of_purged(deployment, "ours")
    assert f"{ours.id} is deleted, and snap-" in told
    assert "earlier" not in told
    # Once the state has nothing, nobody knows its id.
    assert "1 earlier of its snapshots" in snapshot_of_purged(deployment, "")


def test_a_volume_that_was_given_up_by_name_is_not_what_a_purge_deleted(
    engine: Engine, endpoint: str
) -> None:
    deployment = deployment_of("kept", endpoint)
    tags = {CLUSTER_TAG: "p/kept", "Name": "graphistry-kept-leader-data"}
    volume = engine.create(VOLUME, availabilityZone="us-east-1a", size=40, tags=tags)
    aws_client("ec2", endpoint).create_snapshot(
        VolumeId=volume.id,
        TagSpecifications=[
            {
                "ResourceType": "snapshot",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    )
    assert "neither the state has this volume" in snapshot_of_purged(deployment, "")
