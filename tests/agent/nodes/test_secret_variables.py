"""Secret variables of the stack file: where a node reads them, and where they are to be found afterwards."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent import __main__ as command_line
from agent.converge import converge
from agent.graphistry import secret_variables
from agent.node import Node
from agent.phases.configure import wanted_wiring
from agent.sites.remove import remove
from agent.specification import read
from tests.agent.fakes import FakeMachine

from .test_converge import claimed, failure, store, unchanged

MakeNode = Callable[..., Node]
ARN = "arn:aws:secretsmanager:us-east-1:1:secret:env"
CUSTOM_ENV = "data/config/custom.env"


def follower(
    fake: FakeMachine, make_node: MakeNode, text: str | None, version: str = "v-1"
) -> Node:
    node = claimed(fake, make_node, secretEnv={"arn": ARN, "version": version})
    if text is not None:
        store(node).secrets[f"{ARN}#{version}"] = text
    return node


def test_they_are_in_the_agents_block_and_nowhere_else(
    fake: FakeMachine, make_node: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    file = fake.release / CUSTOM_ENV
    for version, value in (("v-1", "canary-one $x #"), ("v-2", "canary-two")):
        node = follower(fake, make_node, json.dumps({"SMTP_PASSWORD": value}), version)
        assert converge(node, unchanged), node.report.document["failure"]
        lines = file.read_text().splitlines()
        assert f"SMTP_PASSWORD='{value}'" in lines or f"SMTP_PASSWORD={value}" in lines
        assert file.stat().st_mode & 0o777 == 0o600
    assert "canary-one" not in file.read_text()
    assert node.report.document["warnings"] == []
    gone = claimed(fake, make_node)
    assert converge(gone, unchanged), gone.report.document["failure"]
    assert "SMTP_PASSWORD" not in file.read_text()
    # The store is the stand-in for AWS's: everything else is the machine.
    assert "canary" not in json.dumps(node.report.document)
    assert "canary" not in "".join(capfd.readouterr())
    assert "canary" not in repr(node)
    left = [each for each in fake.root.rglob("*") if each.is_file() and each != file]
    assert not [each for each in left if b"canary" in each.read_bytes()]


@pytest.mark.parametrize("text", [None, "canary", '["canary"]', '{"A": {"canary": 1}}'])
def test_what_is_not_there_or_unreadable_is_told_without_a_value(
    fake: FakeMachine, make_node: MakeNode, text: str | None
) -> None:
    found = failure(follower(fake, make_node, text))
    assert found["code"] == "SecretEnvUnavailable"
    assert "canary" not in json.dumps(found)


def test_only_the_version_that_the_specification_names_is_read(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    node = follower(fake, make_node, None, "v-2")
    store(node).secrets[ARN] = json.dumps({"SMTP_PASSWORD": "old"})
    assert failure(node)["code"] == "SecretEnvUnavailable"


def test_a_host_keeps_what_was_brought_for_root_alone_until_it_is_taken_out(
    fake: FakeMachine,
    make_host: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def accept(text: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return command_line.main(["accept-secret-env"])

    assert accept("canary") == 1
    assert not (fake.store / "secret-env.json").exists()
    assert accept('{"SMTP_PASSWORD": "canary"}') == 0
    assert (fake.store / "secret-env.json").stat().st_mode & 0o777 == 0o600
    assert fake.store.stat().st_mode & 0o777 == 0o700
    node = make_host("follower", secretEnv={"arn": None, "version": "v-1"})
    assert secret_variables.read(node) == {"SMTP_PASSWORD": "canary"}
    assert secret_variables.read(make_host("follower", secretEnv=None)) == {}
    assert not (fake.store / "secret-env.json").exists()
    assert "canary" not in "".join(capfd.readouterr())


def test_a_host_that_is_no_node_any_more_has_none(fake: FakeMachine, make_host: Any) -> None:
    make_host("follower", secretEnv={"arn": None, "version": "v-1"})
    secret_variables.accept('{"SMTP_PASSWORD": "canary"}')
    remove()
    assert not (fake.store / "secret-env.json").exists()


def test_a_specification_of_an_earlier_program_has_none(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    document = fake.document("follower")
    del document["secretEnv"]
    assert read(json.dumps(document).encode()).secret_env is None


def test_code_of_users_on_a_node_has_them_emptied(fake: FakeMachine, make_node: MakeNode) -> None:
    node = follower(fake, make_node, json.dumps({"SMTP_PASSWORD": "canary"}))
    assert converge(node, unchanged), node.report.document["failure"]
    services = {
        name: {"environment": {"SMTP_PASSWORD": "canary"}} for name in ("nexus", "notebook")
    }
    wanted = wanted_wiring(node, services)
    assert wanted["notebook"]["environment"] == {"SMTP_PASSWORD": ""}
    assert "SMTP_PASSWORD" not in wanted["nexus"]["environment"]
