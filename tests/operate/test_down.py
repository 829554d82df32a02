"""The end of a stack: what `./cluster down` says last, and when the sandbox ends with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from model.problems import UserError
from model.settings.read import parse
from operate.commands import ending as ending
from operate.commands.ending import (
    lift_protection,
    refuse_other_state,
    stop_unused_sandbox,
    take_down,
)
from sandbox.lifecycle import Sandbox
from tests.harness import ROOT
from tests.model.examples import HOSTS, SMALLEST

KEPT = {"dataVolume": "vol-1", "secret": "arn:secret"}
Down = Callable[..., list[str]]


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Down:
    """The lines of `./cluster down` after Pulumi's own."""
    monkeypatch.setattr(ending, "take_over", lambda *_: None)
    monkeypatch.setattr(ending, "stop", lambda _: True)

    def act(raw: dict[str, Any], *, rehearsal: bool) -> list[str]:
        opened: Any = SimpleNamespace(
            stack="lab",
            choice=" lab",
            settings=parse(raw),
            sandbox=SimpleNamespace() if rehearsal else None,
            outputs=lambda: {"keptData": KEPT},
            destroy=lambda *_, **__: 0,
            checkpoint=dict,
            read=lambda *_: "[]",
        )
        take_down(opened, yes=True)
        if rehearsal:
            stop_unused_sandbox(opened, opened.sandbox)
        return capsys.readouterr().err.splitlines()

    return act


def test_an_account_keeps_what_stands_below_the_heading(down: Down) -> None:
    heading, _, volume, secret, last = down(SMALLEST, rehearsal=False)
    assert heading.endswith("kept, with what guards it:")
    assert "vol-1" in volume
    assert "arn:secret" in secret
    assert "`./cluster up lab` takes the data up again" in last
    assert "`./cluster purge lab` deletes it" in last


def test_a_rehearsal_says_that_nothing_is_left_of_its_account(down: Down) -> None:
    heading, *_, last = down(SMALLEST, rehearsal=True)
    assert heading.endswith("a real account keeps, with what guards it:")
    assert last.endswith("its account is gone with it, with everything that a real one keeps")


@pytest.mark.parametrize("rehearsal", [True, False])
def test_hosts_have_said_themselves_what_they_keep(down: Down, rehearsal: bool) -> None:
    lines = down(HOSTS, rehearsal=rehearsal)
    told = "\n".join(lines)
    assert "vol-1" not in told
    assert "account" not in told
    assert "leave `pulumi stack rm` alone: it deletes stacks/Pulumi.lab.yaml" in lines[0]
    assert ("real ones keep what stands after `kept:` above" in told) == rehearsal
    assert ("`./cluster up lab` takes it up again" in told) != rehearsal


@pytest.mark.parametrize(("minutes", "ends"), [(-1, True), (1, False)])
def test_a_sandbox_goes_on_for_stacks_of_its_own_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, ends: bool
) -> None:
    (tmp_path / "daemon.json").touch()
    ports: dict[str, Any] = dict.fromkeys(
        ("pid", "provider_port", "command_port", "docker_port"), 1
    )
    sandbox = Sandbox(
        identity="own", aws_endpoint="http://127.0.0.1:1", directory=tmp_path, **ports
    )
    changed = (sandbox.started + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
    never = {"name": "never-deployed", "current": False}
    empty = {"name": "ended", "lastUpdate": changed, "resourceCount": 0}
    other = {"name": "sandbox", "lastUpdate": changed, "resourceCount": 19}
    opened: Any = SimpleNamespace(
        stack="onprem-sandbox",
        settings=parse(HOSTS),
        read=lambda *_: json.dumps([never, empty, other]),
    )
    stopped: list[Path] = []

    def stop(directory: Path) -> bool:
        stopped.append(directory)
        return True

    monkeypatch.setattr(ending, "stop", stop)
    ending.stop_unused_sandbox(opened, sandbox)
    assert bool(stopped) is ends


def lifted(*resources: dict[str, Any]) -> list[tuple[str, ...]]:
    """What Pulumi is told before it destroys, with these resources in the state."""
    ran: list[tuple[str, ...]] = []
    before = set((ROOT / "stacks").iterdir())

    def run(*arguments: str) -> int:
        ran.append(arguments)
        # A kill comes now.
        assert set((ROOT / "stacks").iterdir()) == before
        return 0

    opened: Any = SimpleNamespace(
        stack="prod",
        config_file=ROOT / "stacks" / "Pulumi.sandbox.yaml",
        checkpoint=lambda: {"resources": list(resources)},
        named=lambda: ["--stack", "prod"],
        run=run,
    )
    lift_protection(opened)
    return ran


def test_a_purge_lifts_what_is_protected_or_retained_and_deploys_nothing_else() -> None:
    protected = {"urn": "urn:a::data", "protect": True}
    # As after `pulumi state unprotect`.
    retained = {"urn": "urn:a::files", "retainOnDelete": True}
    (up,) = lifted(protected, retained, {"urn": "urn:a::leader"})
    assert [each for each in up if each.startswith("--target")] == [
        "--target=urn:a::data",
        "--target=urn:a::files",
    ]


def test_a_purge_with_nothing_to_lift_deploys_no_cluster() -> None:
    """Without a target Pulumi takes all for targets."""
    assert lifted({"urn": "urn:a::leader"}) == []
    assert lifted() == []


def ends(client: Callable[[str], Any]) -> Any:
    return SimpleNamespace(
        stack="prod",
        cluster="graphistry-cluster/prod",
        region="us-east-1",
        settings=parse(SMALLEST),
        client=client,
    )


def test_machines_of_a_stack_that_the_state_does_not_know_are_named() -> None:
    machines = {"Reservations": [{"Instances": [{"InstanceId": "i-2"}, {"InstanceId": "i-1"}]}]}
    pages = [{"Reservations": []}, machines]
    ec2 = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: pages))
    with pytest.raises(UserError, match=r"has no stack prod.*i-1, i-2\. Nothing was ended"):
        refuse_other_state(ends(lambda _: ec2))
    pages.pop()
    refuse_other_state(ends(lambda _: ec2))


def test_whoever_has_no_credentials_yet_may_end_what_was_never_deployed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def nobody(_: str) -> Any:
        raise NoCredentialsError

    refuse_other_state(ends(nobody))
    assert "AWS does not say" in capsys.readouterr().err
