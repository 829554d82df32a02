"""The program on hosts, run under mocks: what is delivered where, in which order, and what never leaves memory."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Any

import jsonschema
import pytest

from components.hosts.hosts_cluster import HostsCluster
from model.settings.hosts import HostsSettings
from model.settings.read import parse
from model.specification import SCHEMA_FILE
from tests.components.test_program import changed
from tests.conftest import Deploy, deployed
from tests.harness import ROOT, Recorder, stack_config

STACK = "onprem-sandbox"
NODES = ("leader", "small", "large")
NAME = f"graphistry-{STACK}"
CANARY = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary-of-the-private-key"
DIGEST = "@sha256:" + "a" * 64
CONTAINERS = {
    "kind": "containers",
    "postgresImage": f"postgres:16{DIGEST}",
    "redisImage": f"redis:7{DIGEST}",
}


def specification(recorder: Recorder, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(delivery(recorder, node).inputs["stdin"])
    return found


def delivery(recorder: Recorder, node: str) -> Any:
    return recorder["Command", f"{NAME}-{node}-specification"]


def followers() -> dict[str, Any]:
    found: dict[str, Any] = stack_config(STACK)["graphistry-cluster:followers"]
    return found


def test_nothing_of_aws_is_made() -> None:
    recorder = deployed(STACK)
    assert not [
        each.type for each in recorder if each.type.startswith(("aws:", "pulumi:providers:aws"))
    ]
    assert recorder.invokes == []


def test_every_host_gets_agent_and_specification_and_is_waited_for() -> None:
    recorder = deployed(STACK)
    for node in NODES:
        stored = delivery(recorder, node)
        ready = recorder["Command", f"{NAME}-{node}-ready"]
        assert stored.urn in ready.dependencies
        digest = hashlib.sha256(stored.inputs["stdin"].encode()).hexdigest()
        assert ready.inputs["create"].endswith(f"-m operate.steps.host_ready {digest}")


def test_the_agent_that_is_sent_is_the_one_that_the_specification_names() -> None:
    recorder = deployed(STACK)
    for node in NODES:
        named = specification(recorder, node)["agent"]["sha256"]
        assert (
            delivery(recorder, node)
            .inputs["create"]
            .endswith(f"-m operate.steps.host_delivery {named}")
        )


def test_every_connection_names_its_host_key() -> None:
    recorder = deployed(STACK)
    signing_in = [each for each in recorder if each.type.startswith("command:")]
    assert len(signing_in) == 11
    for each in signing_in:
        text = json.dumps(each.inputs["environment"])
        assert '\\"hostKey\\": \\"ssh-ed25519 ' in text, each.urn


def test_pulumi_kills_the_programs_that_it_runs_and_not_their_shell_alone() -> None:
    """Joined followers have an admission besides; the programs on AWS are tested with those."""
    for recorder in (deployed(STACK), deployed("sandbox")):
        commands = [each for each in recorder if each.type.startswith("command:")]
        assert commands
        for each in commands:
            for when in {"create", "update", "delete"} & each.inputs.keys():
                command = each.inputs[when]
                assert command == ":" or command.startswith("exec .venv/bin/python -m "), each.urn


def test_the_leader_lets_in_and_exports_to_its_followers_only() -> None:
    recorder = deployed(STACK)
    leader = specification(recorder, "leader")
    addresses = ["10.77.0.12", "10.77.0.11"]
    assert sorted(leader["firewall"]["allow"]) == sorted(addresses)
    assert sorted(leader["sharedFolder"]["clients"]) == sorted(addresses)
    assert leader["dataVolume"] == {"folder": "/var/lib/graphistry-cluster/data"}
    for node in ("small", "large"):
        follower = specification(recorder, node)
        assert follower["firewall"] is None
        assert follower["dataVolume"] is None
        assert follower["endpoints"]["postgres"] == {"host": "10.77.0.10", "port": 5432}
        assert follower["sharedFolder"]["export"] == leader["sharedFolder"]["folder"]


def test_every_node_is_told_who_reaches_telemetry_which_is_nobody_by_default(
    deploy_stack: Deploy,
) -> None:
    for settings, allow in (({}, []), ({"allowedCidrs": ["10.77.0.96/29"]}, ["10.77.0.96/29"])):
        recorder = deploy_stack(STACK, telemetry=settings)
        for node in NODES:
            told = specification(recorder, node)
            jsonschema.validate(told, json.loads(SCHEMA_FILE.read_text()))
            assert told["site"]["telemetry"] == {"allow": allow}


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ({"kind": "nfs-on-leader"}, {"nfs-on-leader", "nfs"}),
        ({"kind": "nfs", "server": "10.77.0.5", "export": "/export"}, {"nfs"}),
        ({"kind": "path", "path": "/mnt/shared"}, {"path"}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_every_kind_of_shared_folder_is_told_to_every_node(
    deploy_stack: Deploy, folder: dict[str, str], kinds: set[str]
) -> None:
    recorder = deploy_stack(STACK, sharedFolder=folder)
    told = [specification(recorder, node)["sharedFolder"] for node in NODES]
    assert {each["kind"] for each in told} == kinds
    assert len({each["path"] for each in told}) == 1


def test_the_secret_is_carried_to_followers_after_both_have_their_specification() -> None:
    recorder = deployed(STACK)
    leader = delivery(recorder, "leader").urn
    for node in ("small", "large"):
        relay = recorder["Command", f"{NAME}-{node}-secret"]
        assert {leader, delivery(recorder, node).urn} <= set(relay.dependencies)
        assert relay.inputs["create"] == "exec .venv/bin/python -m operate.steps.host_secret"
    assert not [each for each in recorder if each.name == f"{NAME}-leader-secret"]


def test_a_private_key_is_a_secret_wherever_it_goes(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(STACK, sshPrivateKey=CANARY)
    seen = 0
    for each in recorder:
        for value in each.inputs.values():
            text = json.dumps(value, default=str)
            if "canary-of-the-private-key" in text:
                seen += 1
                assert "4dabf18193072939515e22adb298388d" in text, each.urn
        assert "canary" not in json.dumps(each.outputs, default=str)
    assert seen >= 9


def test_no_host_is_removed_before_what_was_installed_on_it_is() -> None:
    recorder = deployed(STACK)
    for node in NODES:
        removal = recorder["Command", f"{NAME}-{node}-removal"]
        assert removal.inputs["delete"] == "exec .venv/bin/python -m operate.steps.host_removal"
        assert removal.urn in delivery(recorder, node).dependencies
        others = [
            each for each in recorder if each.type.startswith("command:") and each is not removal
        ]
        assert not [each.urn for each in others if "delete" in each.inputs and node in each.name]


@pytest.mark.parametrize(
    "services", [{"kind": "bundled"}, CONTAINERS], ids=lambda each: each["kind"]
)
def test_containers_of_a_cluster_of_before_go_when_the_leader_joins_and_never_later(
    deploy_stack: Deploy, services: dict[str, str]
) -> None:
    recorder = deploy_stack(STACK, dataServices=services)
    for node in NODES:
        inputs = recorder["Command", f"{NAME}-{node}-removal"].inputs
        takes_away = inputs["create"] == "exec .venv/bin/python -m operate.steps.host_strays"
        assert takes_away == (node == "leader" and services is CONTAINERS)
        assert inputs["update"] == ":"  # else a change of the connection would create again


def test_a_followers_removal_can_ask_the_leader_for_its_secret() -> None:
    recorder = deployed(STACK)
    for node in NODES:
        environment = recorder["Command", f"{NAME}-{node}-removal"].inputs["environment"]
        assert ("LEADER" in json.dumps(environment)) == (node != "leader"), environment


def test_adding_a_follower_touches_the_leader_and_no_other_follower(deploy_stack: Deploy) -> None:
    third = {
        **followers()["small"],
        "host": {**followers()["small"]["host"], "address": "10.77.0.13"},
    }
    before, after = (
        deployed(STACK),
        deploy_stack(STACK, followers={**followers(), "third": third}),
    )
    assert changed(before, after) == {
        f"Command {NAME}-leader-specification",
        f"Command {NAME}-leader-ready",
    }


def test_changed_workers_touch_the_hosts_of_their_profile_only(deploy_stack: Deploy) -> None:
    profiles = stack_config(STACK)["graphistry-cluster:gpuProfiles"]
    fewer = {**profiles["l4-quad"], "workersPerGpu": {"forge": 1}}
    after = deploy_stack(STACK, gpuProfiles={**profiles, "l4-quad": fewer})
    assert changed(deployed(STACK), after) == {
        f"Command {NAME}-large-specification",
        f"Command {NAME}-large-ready",
    }


def test_a_release_of_this_computer_is_sent_to_every_host(deploy_stack: Deploy) -> None:
    release = {
        "version": "2.50.1",
        "cuda": "12",
        "source": "file:/srv/g.tar.gz",
        "sha256": "0" * 64,
    }
    recorder = deploy_stack(STACK, release=release)
    for node in NODES:
        sent = recorder["Command", f"{NAME}-{node}-release"]
        words = f"operate.steps.host_release /srv/g.tar.gz {release['sha256']}"
        assert sent.inputs["create"].endswith(words)
        assert sent.urn in delivery(recorder, node).dependencies
        assert delivery(recorder, node).inputs["create"].endswith("/release.sent")
        assert specification(recorder, node)["release"]["source"] == "file"


def test_contained_data_services_are_the_same_endpoints_to_followers() -> None:
    bundled, contained = deployed(STACK), deployed(STACK, dataServices=CONTAINERS)
    for node in ("small", "large"):
        before, after = specification(bundled, node), specification(contained, node)
        assert before["endpoints"] == after["endpoints"]
        assert {**after, "dataServices": "bundled"} == before
    assert specification(contained, "leader")["dataVolume"] is None


def test_contained_data_services_are_pinned_private_and_keep_their_volume() -> None:
    recorder = deployed(STACK, dataServices=CONTAINERS)
    containers = recorder.of("Container")
    assert {each.name for each in containers} == {
        f"{NAME}-leader-data-services-postgres",
        f"{NAME}-leader-data-services-redis",
    }
    for each in containers:
        assert [port["ip"] for port in each.inputs["ports"]] == ["10.77.0.10"], each.urn
        assert each.inputs["wait"] is True
        # Without it the plugin kills at a replacement. `stopTimeout` would replace those that are there.
        assert each.inputs["destroyGraceSeconds"] == 60
        assert "stopTimeout" not in each.inputs
        assert each.inputs["healthcheck"]["tests"]
        assert "PASSWORD=" not in json.dumps(each.inputs)
    for image in recorder.of("RemoteImage"):
        assert "@sha256:" in image.inputs["name"]
    (volume,) = recorder.of("Volume")
    assert volume.retain_on_delete


def test_containers_are_made_when_their_password_is_there() -> None:
    recorder = deployed(STACK, dataServices=CONTAINERS)
    delivered = delivery(recorder, "leader").urn
    for each in (*recorder.of("Container"), *recorder.of("Volume"), *recorder.of("RemoteImage")):
        assert delivered in each.dependencies, each.urn


def test_no_node_waits_for_data_services_that_could_not_be_made() -> None:
    recorder = deployed(STACK, dataServices=CONTAINERS)
    made = {each.urn for each in recorder.of("Container")}
    for node in NODES:
        ready = recorder["Command", f"{NAME}-{node}-ready"]
        assert made <= set(ready.dependencies), node


def test_docker_accepts_the_host_keys_of_the_stack_file_only() -> None:
    recorder = deployed(STACK, dataServices=CONTAINERS)
    (provider,) = (each for each in recorder if each.type == "pulumi:providers:docker")
    options = json.loads(provider.inputs["sshOpts"])
    assert "StrictHostKeyChecking=yes" in options
    assert any(each.startswith("UserKnownHostsFile=.build/") for each in options)
    assert provider.inputs["host"] == "ssh://ubuntu@10.77.0.10:22"
    # Asked at once, a leader that is gone would keep everything from ending.
    assert provider.inputs["disableDockerDaemonCheck"] == "true"


def test_docker_knows_the_bastion_by_its_host_key_too(deploy_stack: Deploy) -> None:
    key = stack_config(STACK)["graphistry-cluster:leader"]["host"]["hostKey"]
    bastion = {"address": "bastion.example.com", "user": "jump", "port": 2222, "hostKey": key}
    recorder = deploy_stack(STACK, dataServices=CONTAINERS, ssh={"bastion": bastion})
    (provider,) = (each for each in recorder if each.type == "pulumi:providers:docker")
    options = json.loads(provider.inputs["sshOpts"])
    (known,) = {each for each in options if each.startswith("UserKnownHostsFile=")}
    listed = (ROOT / known.partition("=")[2]).read_text().splitlines()
    assert listed == [f"10.77.0.10 {key}", f"[bastion.example.com]:2222 {key}"]
    (jump,) = (each for each in options if each.startswith("ProxyCommand="))
    # What ssh is told of the host is not handed on to another ssh: it stands there twice.
    words = shlex.split(jump.partition("=")[2])
    assert words[0] == "ssh"
    assert words[1 : len(options) - 1] == options[:-2]
    assert words[len(options) - 1 :] == ["-p", "2222", "-W", "[%h]:%p", "jump@bastion.example.com"]


def test_nothing_of_a_tunnel_is_made_unless_the_stack_file_wants_it() -> None:
    recorder = deployed(STACK)
    assert not [each for each in recorder if each.name.endswith("-tunnel")]
    assert {json.dumps(specification(recorder, node)["site"]["tunnel"]) for node in NODES} == {
        "null"
    }


def test_with_encryption_followers_reach_the_leader_inside_the_tunnel(
    deploy_stack: Deploy,
) -> None:
    recorder = deploy_stack(STACK, encryption="wireguard")
    told = [specification(recorder, node) for node in NODES]
    for each in told:
        jsonschema.validate(each, json.loads(SCHEMA_FILE.read_text()))
        assert each["endpoints"]["postgres"] == {"host": "198.19.0.10", "port": 5432}
        assert each["endpoints"]["redis"]["host"] == "198.19.0.10"
        assert each["site"]["tunnel"] == {
            "network": "198.18.0.0/15",
            "port": 51820,
            "leader": "10.77.0.10",
        }
    leader, small, _ = told
    # Whom the agent lets in is said by where SSH and the tunnel itself come from.
    assert sorted(leader["firewall"]["allow"]) == ["10.77.0.11", "10.77.0.12"]
    assert small["site"]["address"] == "10.77.0.11"
    assert small["sharedFolder"]["server"] == "198.19.0.10"
    secrets = recorder["Command", f"{NAME}-small-secret"]
    carried = recorder["Command", f"{NAME}-small-tunnel"]
    assert carried.inputs["create"].endswith("-m operate.steps.host_tunnel 10.77.0.10 10.77.0.11")
    assert set(secrets.dependencies) == set(carried.dependencies)
    raw = {key.partition(":")[2]: value for key, value in stack_config(STACK).items() if value}
    settings = parse({**raw, "encryption": "wireguard"})
    assert isinstance(settings, HostsSettings)
    cluster = HostsCluster.own(settings, "graphistry-cluster/lab")
    assert HostsCluster.joined(cluster.as_join()).leader_reached == "198.19.0.10"


def test_a_file_server_of_its_own_stays_outside_the_tunnel(deploy_stack: Deploy) -> None:
    folder = {"kind": "nfs", "server": "10.77.0.5", "export": "/export"}
    recorder = deploy_stack(STACK, encryption="wireguard", sharedFolder=folder)
    assert {specification(recorder, node)["sharedFolder"]["server"] for node in NODES} == {
        "10.77.0.5"
    }


def test_data_services_in_containers_are_published_inside_the_tunnel(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(STACK, encryption="wireguard", dataServices=CONTAINERS)
    published = {
        port["ip"] for each in recorder.of("Container") for port in each.inputs.get("ports", [])
    }
    assert published == {"198.19.0.10"}


def test_secret_variables_are_brought_before_the_specification_that_names_their_version() -> None:
    recorder = deployed(STACK, secretEnv={"SMTP_PASSWORD": "canary-of-the-mail"})
    for node in NODES:
        brought = recorder["Command", f"{NAME}-{node}-secret-env"]
        assert brought.inputs["create"] == "exec .venv/bin/python -m operate.steps.host_secret_env"
        assert brought.urn in delivery(recorder, node).property_dependencies["stdin"]
        removal = recorder["Command", f"{NAME}-{node}-removal"]
        assert removal.urn in brought.dependencies
        assert specification(recorder, node)["secretEnv"] == {
            "arn": None,
            "version": f"printed-by-{NAME}-{node}-secret-env",
        }
    before = deployed(STACK)
    assert [specification(before, node)["secretEnv"] for node in NODES] == [None] * len(NODES)
