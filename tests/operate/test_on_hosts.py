"""The nodes on hosts, as their agents answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from operate.commands.screen import show_nodes
from operate.hosts.connected import Hosts
from operate.nodes import on_hosts
from operate.nodes.on_hosts import nodes_on_hosts
from operate.stack.rehearsed_hosts import Unlike
from operate.stack.run_command import Answer

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ENTRY = {"profile": "t4", "gpus": 1, "address": "10.77.0.11"}
OUTPUTS = {"leader": ENTRY, "followers": {"small": ENTRY}}


class Reports:
    """Hosts whose agents say one thing after the other, the last one for ever."""

    def __init__(self, **said: list[dict[str, Any]]) -> None:
        self.access = dict.fromkeys(said)
        self.failures: dict[str, Exception] = {}
        self.unlike: dict[str, Unlike] = {}
        self.looks = 0
        self._left = said

    def run(self, nodes: list[str], command: str, **_: Any) -> dict[str, Answer]:
        assert command == on_hosts.STATUS
        self.looks += 1
        return {node: Answer(succeeded=True, output=self._say(node), error="") for node in nodes}

    def _say(self, node: str) -> str:
        left = self._left[node]
        report = left.pop(0) if len(left) > 1 else left[0]
        return json.dumps({"agent": "active", "ageSeconds": 1.0, "report": report})


def report(state: str, since: float = 1.0) -> dict[str, Any]:
    failure = {"phase": "verify", "code": "LeaderUnreachable", "message": "it does not answer"}
    at = NOW - timedelta(seconds=since)
    return {
        "state": state,
        "phase": "verify",
        "heartbeat": NOW.isoformat(),
        "failure": {**failure, "at": at.isoformat()} if state in ("degraded", "failed") else None,
    }


READY = report("ready")


def test_a_node_that_is_not_ready_says_why() -> None:
    hosts = Reports(leader=[READY], small=[report("degraded")])
    leader, small = (each.node for each in nodes_on_hosts(cast(Hosts, hosts), OUTPUTS))
    assert (leader.state, leader.reason) == ("ready", "")
    assert (small.state, small.reason) == ("degraded: LeaderUnreachable", "it does not answer")


def test_a_node_of_a_rehearsal_may_have_no_machine_yet() -> None:
    hosts = Reports(leader=[READY], small=[READY])
    hosts.unlike = {"small": Unlike.NOT_BOOTED, "leader": Unlike.OTHER_GPUS}
    seen = nodes_on_hosts(cast(Hosts, hosts), OUTPUTS)
    found = {each.node.name: each.node.state for each in seen}
    assert found == {"leader": "ready", "small": "not booted"}


def test_what_an_agent_warns_of_is_shown_below_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warning = "data (/mnt/graphistry-data) is 90 % full, 10.0 of 100 GiB free"
    hosts = Reports(leader=[{**READY, "warnings": [warning]}], small=[READY])
    found = [each.node for each in nodes_on_hosts(cast(Hosts, hosts), OUTPUTS)]
    assert [node.warnings for node in found] == [(warning,), ()]
    show_nodes(found, as_json=False)
    assert f"warning: leader: {warning}" in " ".join(capsys.readouterr().err.split())
