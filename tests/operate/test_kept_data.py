"""Which plans would give up kept data, and that its name must be typed."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from model.changed_keys import ChangedKey
from model.changes import Effect
from model.problems import UserError
from operate.commands.preparation import data_to_give_up
from operate.stack.kept_data import (
    PROTECTION_KEY,
    Loss,
    losses,
    never,
    planned,
    protect_again,
    refuse,
    refuse_beside_a_machine,
    tell_given_up,
    unfinished,
    unprotected,
)

URN = "urn:pulumi:prod::graphistry-cluster::"
FOLDER = f"{URN}graphistry-cluster:index:SharedFolder::graphistry-prod-shared-folder"
VOLUME = f"{URN}aws:ebs/volume:Volume::graphistry-prod-leader-data"
FILES = f"{URN}aws:efs/fileSystem:FileSystem::graphistry-prod-shared-folder"
POLICY = f"{URN}aws:efs/fileSystemPolicy:FileSystemPolicy::graphistry-prod-shared-folder-policy"
STATE: list[dict[str, Any]] = [
    {"urn": FOLDER, "type": "graphistry-cluster:index:SharedFolder"},
    {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-1", "protect": True},
    {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-0", "delete": True},
    {
        "urn": FILES,
        "type": "aws:efs/fileSystem:FileSystem",
        "id": "fs-1",
        "parent": FOLDER,
        "protect": True,
    },
    {
        "urn": POLICY,
        "type": "aws:efs/fileSystemPolicy:FileSystemPolicy",
        "id": "fs-1",
        "protect": True,
    },
    {
        "urn": f"{URN}aws:ec2/instance:Instance::graphistry-prod-leader",
        "type": "aws:ec2/instance:Instance",
    },
]


def step(operation: str, urn: str) -> dict[str, Any]:
    return {"steps": [{"op": operation, "urn": urn}]}


@pytest.mark.parametrize(
    "operation", ["replace", "create-replacement", "delete-replaced", "delete"]
)
def test_replacing_or_deleting_a_data_volume_gives_it_up(operation: str) -> None:
    assert [each.identity for each in losses(step(operation, VOLUME), STATE)] == ["vol-1"]


@pytest.mark.parametrize("operation", ["same", "update", "refresh", "read", "create"])
def test_what_stays_is_not_given_up(operation: str) -> None:
    assert losses(step(operation, VOLUME), STATE) == []


def test_data_without_protection_is_data_all_the_same() -> None:
    state = [{**each, "protect": False} for each in STATE]
    assert [each.name for each in losses(step("delete", VOLUME), state)] == [
        "graphistry-prod-leader-data"
    ]


def test_what_is_below_a_deleted_component_is_given_up_though_the_plan_ended_before() -> None:
    plan = {
        **step("delete", FOLDER),
        "diagnostics": [
            {
                "urn": POLICY,
                "message": "error: Preview failed: cannot be deleted\nbecause it is protected",
            },
            {"message": "error: preview failed"},
        ],
    }
    assert [each.urn for each in losses(plan, STATE)] == [FILES, POLICY]


def test_another_machine_is_no_loss() -> None:
    assert losses(step("replace", str(STATE[-1]["urn"])), STATE) == []


def test_a_plan_that_failed_before_it_began_gives_up_nothing() -> None:
    assert losses({}, STATE) == []
    assert losses({"steps": [], "diagnostics": None}, STATE) == []


BOTH = [
    Loss(urn=FILES, type="aws:efs/fileSystem:FileSystem", identity="fs-1"),
    Loss(urn=POLICY, type="aws:efs/fileSystemPolicy:FileSystemPolicy", identity="fs-1"),
]


def test_the_names_of_data_are_asked_for_and_what_guards_it_goes_with_it() -> None:
    with pytest.raises(UserError) as refused:
        refuse(BOTH, set(), " prod")
    assert "./cluster up prod --name graphistry-prod-shared-folder" in str(refused.value)
    refuse(BOTH, {"graphistry-prod-shared-folder"}, "")


def test_a_guard_alone_is_asked_for_by_its_name() -> None:
    with pytest.raises(UserError, match="--name graphistry-prod-shared-folder-policy"):
        refuse(BOTH[1:], set(), "")


def test_what_aws_would_delete_is_said_before_its_name_is_typed() -> None:
    kept = [{**each, "retainOnDelete": True} for each in STATE]
    lifted = [{**each, "retainOnDelete": False} for each in STATE]
    with pytest.raises(UserError) as retained:
        refuse(losses(step("replace", VOLUME), kept), set(), "")
    assert "DELETE" not in str(retained.value)
    with pytest.raises(UserError, match="has let AWS DELETE graphistry-prod-leader-data"):
        refuse(losses(step("replace", VOLUME), lifted), set(), "")


def test_another_name_is_no_yes() -> None:
    with pytest.raises(UserError, match="graphistry-prod-leader-data, which this plan does not"):
        refuse(BOTH, {"graphistry-prod-leader-data", "graphistry-prod-shared-folder"}, "")
    with pytest.raises(UserError, match="it gives up no kept data"):
        refuse([], {"graphistry-prod-leader-data"}, "")


def key(path: str, before: str = "nothing") -> ChangedKey:
    return ChangedKey(
        path=path, before=before, after="other", nodes=(), effect=Effect.NEVER, words=""
    )


FOLDER_KEY = "sharedFolder.fileSystemId"


def test_a_change_that_is_never_is_possible_only_where_its_data_are_given_up() -> None:
    zone, folder, site = key("leader.availabilityZone", "a"), key(FOLDER_KEY), key("site", "aws")
    assert never([zone, folder, site], BOTH, STATE) == [zone, site]
    assert never([folder], BOTH[1:], STATE) == []  # a plan may end at what guards the data
    harmless = dataclasses.replace(site, effect=Effect.REPLACES)
    assert never([harmless], [], STATE) == []


def test_a_snapshot_is_possible_only_where_the_volume_is_given_up() -> None:
    snapshot = key("leader.dataVolume.snapshotId")
    assert never([snapshot], losses(step("replace", VOLUME), STATE), STATE) == []
    assert never([snapshot], [], STATE) == [snapshot]


def test_data_that_a_failed_run_gave_up_hold_nobody_back() -> None:
    assert never([key(FOLDER_KEY)], [], STATE) == [key(FOLDER_KEY)]
    without = [each for each in STATE if each["urn"] not in (FILES, POLICY)]
    assert never([key(FOLDER_KEY)], [], without) == []
    # From one existing file system to another: it was never in the state, and there is nothing to name.
    assert never([key(FOLDER_KEY, "fs-0")], [], without) == [key(FOLDER_KEY, "fs-0")]


def protects(*resources: dict[str, Any]) -> list[str]:
    """The URNs that are protected again in a state of *resources*."""
    told: list[str] = []
    state: Any = SimpleNamespace(
        choice=" sandbox",
        checkpoint=lambda: {"resources": list(resources)},
        named=lambda: ["--stack", "prod"],
        read=lambda *words: told.extend(words),
    )
    protect_again(state)
    return [each for each in told if each.startswith("urn:")]


def test_what_an_interrupted_command_left_open_is_protected_again() -> None:
    bare = {"urn": "urn:a::data", "type": "aws:ebs/volume:Volume"}
    guard = {"urn": "urn:a::policy", "type": "aws:s3/bucketPolicy:BucketPolicy"}
    closed = {"urn": "urn:a::secret", "type": "aws:secretsmanager/secret:Secret", "protect": True}
    given_up = {**bare, "urn": "urn:a::old", "delete": True}
    machine = {"urn": "urn:a::leader", "type": "aws:ec2/instance:Instance"}
    assert protects(bare, guard, closed, given_up, machine) == ["urn:a::data", "urn:a::policy"]


def test_the_secret_of_the_stack_files_variables_is_no_data() -> None:
    """What is in it is in the stack file."""
    name = f"{URN}aws:secretsmanager/secret:Secret::graphistry-prod"
    env, own = (
        {"urn": f"{name}-{what}", "type": "aws:secretsmanager/secret:Secret", "id": what}
        for what in ("secret-env", "secret")
    )
    assert protects(env, own) == [own["urn"]]
    given_up = [
        each.identity
        for resource in (env, own)
        for each in losses(step("delete", resource["urn"]), [env, own])
    ]
    assert given_up == ["secret"]


def test_volumes_of_hosts_are_never_protected() -> None:
    assert protects({"urn": "urn:a::postgres", "type": "docker:index/volume:Volume"}) == []


def test_a_snapshot_takes_no_volume_from_a_machine() -> None:
    lost = losses(step("replace", VOLUME), STATE)
    with pytest.raises(UserError, match=r"First end the machines: ./cluster down prod"):
        refuse_beside_a_machine(lost, STATE, "snap-0123456789abcdef0", " prod")
    ended = [each for each in STATE if not each["type"].endswith(":Instance")]
    refuse_beside_a_machine(lost, ended, "snap-0123456789abcdef0", " prod")
    refuse_beside_a_machine(lost, STATE, None, " prod")
    refuse_beside_a_machine([], STATE, "snap-0123456789abcdef0", " prod")


def test_what_was_unprotected_before_ctrl_c_is_protected_again() -> None:
    """Pulumi may have written the state by then."""
    volume = {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-1", "protect": True}
    ran: list[tuple[str, ...]] = []

    def read(*words: str) -> str:
        ran.append(words)
        if "unprotect" in words:
            volume["protect"] = False
            raise KeyboardInterrupt
        return ""

    tagged: list[str] = []
    ec2 = SimpleNamespace(
        create_tags=lambda **_: tagged.append("made"),
        delete_tags=lambda **_: tagged.append("taken away"),
    )
    state: Any = SimpleNamespace(
        checkpoint=lambda: {"resources": [volume]},
        named=lambda: ["--stack", "prod"],
        read=read,
        client=lambda _: ec2,
    )
    lost = [Loss(urn=VOLUME, type="aws:ebs/volume:Volume", identity="vol-1")]
    with pytest.raises(KeyboardInterrupt), unprotected(state, lost):
        pytest.fail("nothing is deployed")
    assert ran[-1][:2] == ("state", "protect")
    assert tagged == ["made", "taken away"]


@pytest.mark.parametrize(("lifted", "refused"), [({}, False), ({PROTECTION_KEY: "prod"}, True)])
def test_half_a_plan_is_no_plan_while_the_stack_file_lifts_the_protection(
    monkeypatch: pytest.MonkeyPatch, lifted: dict[str, str], *, refused: bool
) -> None:
    done = SimpleNamespace(returncode=255, stdout='{"steps": []}')
    monkeypatch.setattr("operate.stack.kept_data.subprocess.run", lambda *_, **__: done)
    state: Any = SimpleNamespace(stack="prod", config=lifted, configured=list, environment={})
    with pytest.raises(UserError, match="nothing was changed") if refused else nullcontext():
        assert planned(state) == {"steps": []}
    # What the state protects as yet is told with its name.
    plan = {"diagnostics": [{"urn": VOLUME, "message": "because it is protected"}]}
    done.stdout = json.dumps(plan)
    assert planned(state) == plan


def test_what_a_stopped_run_gave_up_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    urn = "urn:pulumi:dev::graphistry-cluster::aws:ebs/volume:Volume::graphistry-dev-leader-data"
    volume = {"urn": urn, "type": "aws:ebs/volume:Volume"}
    tell_given_up([{**volume, "id": "vol-new"}, {**volume, "id": "vol-old", "delete": True}])
    told = " ".join("".join(capsys.readouterr()).split())
    assert "graphistry-dev-leader-data: a run that was stopped gave up vol-old" in told
    assert "goes on with vol-new, which has none of them" in told
    tell_given_up([{**volume, "id": "vol-new"}])
    assert "".join(capsys.readouterr()) == ""


def test_a_destruction_that_was_stopped_has_not_ended() -> None:
    machine = {"urn": "urn::i", "type": "aws:ec2/instance:Instance", "id": "i-1"}
    kept = {"urn": "urn::v", "type": "aws:ebs/volume:Volume", "id": "vol-1", "protect": True}
    provider = {"urn": "urn::p", "type": "pulumi:providers:aws", "id": "x"}
    component = {"urn": "urn::c", "type": "graphistry-cluster:index:Cluster"}
    role = {"urn": "urn::r", "type": "aws:iam/role:Role", "id": "role"}
    guard = {**kept, "urn": "urn::g", "id": "policy-1", "dependencies": ["urn::r"]}
    assert unfinished([kept, provider, component, role, guard]) == []
    assert unfinished([kept, provider, component, role]) == ["r"]
    assert unfinished([machine, kept, provider, component]) == ["i"]


def test_what_a_stopped_replacement_has_replaced_stays_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state has both under one name until the next run; recovery must not take the old one for the cluster's."""
    old = {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-1", "protect": True}
    tagged: list[str] = []
    ec2 = SimpleNamespace(
        create_tags=lambda **_: tagged.append("made"),
        delete_tags=lambda **_: tagged.append("taken away"),
    )
    found = [old]
    state: Any = SimpleNamespace(
        checkpoint=lambda: {"resources": found},
        named=lambda: ["--stack", "prod"],
        read=lambda *_: "",
        client=lambda _: ec2,
    )
    monkeypatch.setattr("operate.stack.kept_data.final_snapshots", lambda *_: {})
    monkeypatch.setattr("operate.stack.kept_data._stop_backups", lambda *_: None)
    with unprotected(state, [Loss(urn=VOLUME, type="aws:ebs/volume:Volume", identity="vol-1")]):
        found[:] = [{**old, "id": "vol-2"}, {**old, "delete": True}]
    assert tagged == ["made"]
    assert "the cluster has let go of vol-1, and AWS keeps it" in " ".join(
        "".join(capsys.readouterr()).split()
    )


def test_what_was_given_up_is_named_also_where_the_stack_file_is_put_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Then nothing changes that may lose data, and no plan is asked for."""
    found = [
        {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-new", "protect": True},
        {"urn": VOLUME, "type": "aws:ebs/volume:Volume", "id": "vol-old", "delete": True},
        {"urn": "urn::leader", "type": "aws:ec2/instance:Instance", "id": "i-1"},
    ]
    state: Any = SimpleNamespace(checkpoint=lambda: {"resources": found}, config={}, choice=" prod")
    assert data_to_give_up(state, (), set()) == []
    assert "gave up vol-old" in "".join(capsys.readouterr())
