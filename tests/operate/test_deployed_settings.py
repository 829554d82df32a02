"""What was deployed last, from Pulumi's history of the stack."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model.changed_keys import ChangedKey
from model.changes import Effect
from model.problems import UserError
from model.settings.aws import Settings
from model.settings.read import parse
from operate.stack.changes import (
    UnknownSettingsError,
    changes_since_deployment,
    deployed_settings,
    refuse_never,
)
from operate.stack.deployment import Deployment
from operate.stack.rehearsed_hosts import STACK_FILE
from tests.model.examples import HOSTS, SMALLEST, changed


class History:
    """A stack with a history, the newest first."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        self._runs = list(runs)

    def named(self) -> list[str]:
        return []

    def read(self, *arguments: str) -> str:
        assert arguments[:2] == ("stack", "history")
        return json.dumps(self._runs)


def run(
    raw: dict[str, Any], *, kind: str = "update", result: str = "succeeded", **secret: str
) -> dict[str, Any]:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()
    }
    config: dict[str, Any] = {
        f"graphistry-cluster:{key}": {"value": text, "secret": False} for key, text in texts.items()
    }
    for key in secret:
        config[f"graphistry-cluster:{key}"] = {"secret": True}
    config["aws:region"] = {"value": "us-east-1", "secret": False}
    return {"kind": kind, "result": result, "config": config}


def last(*runs: dict[str, Any]) -> Any:
    return deployed_settings(cast(Deployment, History(*runs)))


TAGGED = {**SMALLEST, "tags": {"a": "b"}}


def test_the_last_deployment_that_succeeded_counts() -> None:
    found = last(run({}, result="failed"), run({}, kind="refresh"), run(TAGGED), run(SMALLEST))
    assert isinstance(found, Settings)
    assert found.tags == {"a": "b"}


def test_before_the_first_and_after_the_end_there_is_none() -> None:
    assert last() is None
    assert last(run(SMALLEST, result="failed")) is None
    assert last(run(SMALLEST, kind="destroy"), run(SMALLEST)) is None


def test_pulumis_defaults_and_an_unlocked_purge_are_no_settings() -> None:
    found = last(run({**SMALLEST, "deleteData": "prod", "ssh": {}, "leaderStack": ""}))
    assert isinstance(found, Settings)


def test_a_file_that_is_gone_by_now_hides_no_change() -> None:
    files = {"data/config/Caddyfile": "stacks/gone.Caddyfile"}
    found = last(run({**SMALLEST, "configuration": {"files": files}}))
    assert isinstance(found, Settings)
    assert found.configuration.files == files


def test_a_secret_is_there_and_not_known() -> None:
    found = last(run(HOSTS, sshPrivateKey="x"))
    assert "(encrypted)" in found.ssh_private_key


def test_a_rehearsed_change_is_told_as_the_user_wrote_it() -> None:
    def rehearsed(port: int, **changes: str) -> dict[str, Any]:
        """The keys of a rehearsed file whose user has another."""
        machine = {**HOSTS["followers"]["rack2"]["host"], "address": "127.0.0.1", "port": port}
        file = changed(HOSTS, {f"followers.rack2.host.{key}": changes[key] for key in changes})
        config = keyed(changed(HOSTS, {"followers.rack2.host": machine}))
        return {**config, STACK_FILE: json.dumps(keyed(file))}

    before = run({})
    before["config"] = {
        key: {"value": value if isinstance(value, str) else json.dumps(value), "secret": False}
        for key, value in rehearsed(2222).items()
    }
    after = rehearsed(2223, address="other.lab")
    deployment = SimpleNamespace(
        named=list, read=History(before).read, config=after, checkpoint=dict
    )
    (change,) = changes_since_deployment(cast(Deployment, deployment))
    assert (change.path, change.before) == ("followers.rack2.host.address", '"rack2.lab"')


def test_the_zone_of_the_data_is_the_one_of_the_state() -> None:
    volume = {"type": "aws:ebs/volume:Volume", "outputs": {"availabilityZone": "us-east-1a"}}
    old = {**volume, "delete": True, "outputs": {"availabilityZone": "us-east-1c"}}
    resources = [old, {"type": "aws:ec2/vpc:Vpc", "outputs": {}}, volume]

    def told(zone: str) -> tuple[ChangedKey, ...]:
        deployment = SimpleNamespace(
            named=list,
            read=History(run(SMALLEST)).read,
            config={},
            settings=parse(changed(SMALLEST, {"leader.availabilityZone": zone})),
            checkpoint=lambda: {"resources": resources},
        )
        return changes_since_deployment(cast(Deployment, deployment))

    assert told("us-east-1a") == ()
    (change,) = told("us-east-1b")
    assert (change.before, change.effect) == ('"us-east-1a"', Effect.NEVER)
    with pytest.raises(UserError) as refused:
        refuse_never([change, change])
    text = str(refused.value)
    assert "\n  2. leader.availabilityZone\n" in text
    assert text.startswith("2 changes are refused:\n\n  1. leader.availabilityZone\n")
    assert 'allowed: "us-east-1a", as it is deployed' in text
    assert "copy the stack file under another name" in text
    refuse_never([])


def keyed(settings: dict[str, Any]) -> dict[str, Any]:
    return {f"graphistry-cluster:{key}": value for key, value in settings.items()}


def test_settings_of_another_version_are_said_and_do_not_stop_anybody() -> None:
    with pytest.raises(UnknownSettingsError, match="does not read: oldKey"):
        last(run({**SMALLEST, "oldKey": {"a": 1}}))
