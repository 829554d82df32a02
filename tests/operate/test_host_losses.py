"""What a host has lost of what was delivered: who is told, and which resources are made anew."""

from __future__ import annotations

from typing import Any

from operate.hosts.facts import Facts
from operate.hosts.losses import replacements
from operate.hosts.preflight import Trouble, problems
from tests.model.examples import changed
from tests.operate.test_host_preflight import CLUSTER, SOUND, settings

NODE = {"cluster": CLUSTER, "node": "rack2"}
RACK2: dict[str, Any] = {"gpus": [{"name": "L4", "memoryMib": 23034}], "memoryMib": 65000}
URN = "urn:pulumi:lab::graphistry-cluster::command:remote:Command::graphistry-lab-"


def test_what_a_node_has_lost_is_told_and_brought_again() -> None:
    (found,) = troubles("rack2", **RACK2, node=NODE, lacks=["secret", "agent"])
    assert found.what == "it lacks what was delivered: secret, agent"
    assert found.lacks == ("secret", "agent")
    assert not found.blocks


def test_a_host_that_is_no_node_yet_lacks_nothing() -> None:
    assert troubles("rack2", **RACK2, node=None, lacks=["secret", "agent"]) == []


def test_a_node_of_which_nothing_is_left_is_known_by_its_deployment() -> None:
    left = {"lacks": ["agent", "specification"], "listening": {"80": "docker-proxy"}}
    (found,) = troubles("rack2", is_deployed=True, **RACK2, node=None, **left)
    assert found.what == "nothing of the node that it should be is there any more"
    assert found.lacks == ("agent", "specification")


def test_a_leader_that_has_lost_its_secret_gets_no_other_one() -> None:
    (found,) = troubles("leader", node={**NODE, "node": "leader"}, lacks=["secret"])
    assert found.blocks
    assert "put /var/lib/graphistry-cluster/secret.json back" in found.hint
    assert found.lacks == ()
    assert troubles("leader", dataServices=None, lacks=["secret"]) == []


def test_what_brings_it_is_made_anew_and_waited_for() -> None:
    resources = [
        {"urn": f"{URN}{node}-{end}"}
        for node in ("rack2", "other-rack2", "leader")
        for end in (
            "agent",
            "release",
            "specification",
            "secret",
            "secret-env",
            "tunnel",
            "ready",
            "removal",
        )
    ]

    def names(*lacks: str, node: str = "rack2") -> set[str]:
        found = replacements(resources, "lab", {node: lacks})
        return {each.removeprefix(f"--replace={URN}") for each in found}

    assert names("secret") == {"rack2-secret", "rack2-ready"}
    assert names("secretEnv") == {"rack2-secret-env", "rack2-ready"}
    assert names("agent") == names("specification") == {"rack2-specification", "rack2-ready"}
    assert names("release") == {"rack2-release", "rack2-specification", "rack2-ready"}
    assert names("tunnel") == {"rack2-tunnel", "rack2-ready"}
    followers = {"rack2-tunnel", "other-rack2-tunnel"}
    assert names("tunnel", node="leader") == {*followers, "leader-tunnel", "leader-ready"}
    assert names() == set()


def troubles(name: str, *, is_deployed: bool = False, **changes: Any) -> list[Trouble]:
    facts = Facts.model_validate(changed(SOUND, changes))
    return list(problems(settings(), name, facts, CLUSTER, None, is_deployed=is_deployed))
