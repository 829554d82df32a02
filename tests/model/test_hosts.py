"""What a stack file of the `hosts` site may say, and in which words its mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from model.problems import SettingsError
from model.settings.aws import Settings
from model.settings.hosts import HostsSettings, access_document
from model.settings.read import parse
from model.workers import node_allocation
from tests.model.examples import ABSENT, FULL, HOSTS, changed
from tests.model.test_settings_words import (
    JARGON,
    JSON,
    WRONG_VALUES,
    assert_settings_or_problems,
    places,
    problems_of,
    replaced,
)

DIGEST = "@sha256:" + "a" * 64
CONTAINERS = {
    "kind": "containers",
    "postgresImage": f"postgres:16{DIGEST}",
    "redisImage": f"redis:7{DIGEST}",
}


def on_hosts(raw: dict[str, Any]) -> HostsSettings:
    settings = parse(raw)
    assert isinstance(settings, HostsSettings)
    return settings


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"followers": ABSENT},
        {"ssh": ABSENT, "sharedFolder": ABSENT, "dataServices": ABSENT, "release": ABSENT},
        {"sharedFolder": {"kind": "nfs-on-leader", "folder": "/data/shared"}},
        {"sharedFolder": {"kind": "path", "path": "/mnt/lustre/graphistry"}},
        {"sharedFolder.path": "/data"},
        {"encryption": "wireguard"},
        {"telemetry": ABSENT},
        {"telemetry.allowedCidrs": []},
        {"dataServices": CONTAINERS},
        {"sshPrivateKey": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc"},
    ],
    ids=lambda value: ",".join(value),
)
def test_is_accepted(changes: dict[str, Any]) -> None:
    assert isinstance(parse(changed(HOSTS, changes)), HostsSettings)


@pytest.mark.parametrize(
    ("changes", "path", "told"),
    [
        (
            {"leader.host.hostKey": ABSENT},
            "leader.host.hostKey",
            "`./cluster host-keys STACK` shows",
        ),
        ({"leader.host.address": ABSENT}, "leader.host.address", "this key is required"),
        ({"leader.host.address": "10.77.0.300"}, "leader.host.address", "from 0 to 255"),
        ({"followers.rack2.host.address": "10.77.0"}, "followers.rack2.host.address", "0 to 255"),
        ({"ssh.bastion.address": "1.2.3.4.5"}, "ssh.bastion.address", "0 to 255"),
        ({"leader.host.hostKey": "ssh-ed25519 AAAA!"}, "leader.host.hostKey", "is cut here"),
        (
            {"leader.host.hostKey": "SHA256:abc"},
            "leader.host.hostKey",
            "`./cluster host-keys STACK` collects",
        ),
        (
            {"leader.host.hostKey": "ecdsa-sha2-nistp256 AAAAC3NzaC1lZDI1NTE5"},
            "leader.host.hostKey",
            "another type",
        ),
        (
            {"leader.host.hostKey": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ=="},
            "leader.host.hostKey",
            "name the host's ecdsa or ed25519 key",
        ),
        (
            {"ssh.bastion.hostKey": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ=="},
            "ssh.bastion.hostKey",
            "`sudo ssh-keygen -A` on the host",
        ),
        ({"leader.host.address": "leader.lab"}, "leader.host.privateAddress", "need an address"),
        (
            {"leader.host.privateAddress": "127.0.0.1"},
            "leader.host.privateAddress",
            "no other machine",
        ),
        ({"leader.host.privateAddress": "10.0.0.300"}, "leader.host.privateAddress", "0 to 255"),
        (
            {"followers.rack2.host.privateAddress": "10.0.0.10"},
            "followers.rack2.host.privateAddress",
            "leader.host.address has it",
        ),
        (
            {"telemetry.allowedCidrs": ["0.0.0.0/0"]},
            "telemetry.allowedCidrs[0]",
            "forward the port",
        ),
        ({"telemetry.allowedCidrs": ["10.0.0.7"]}, "telemetry.allowedCidrs[0]", "/32 is a single"),
        ({"telemetry.allowedCidrs": "10.0.0.0/8"}, "telemetry.allowedCidrs", "a list of IPv4"),
        ({"telemetry.open": True}, "telemetry.open", "a key that does not exist here"),
        ({"encryption": "ipsec"}, "encryption", '"wireguard"'),
        (
            {"encryption": "wireguard", "followers.rack2.host.privateAddress": "10.2.0.10"},
            "followers.rack2.host.privateAddress",
            "both would be 198.18.0.10 inside the tunnel",
        ),
        (
            {"encryption": "wireguard", "followers.rack2.host.privateAddress": "198.19.0.1"},
            "followers.rack2.host.privateAddress",
            "an address outside of 198.18.0.0/15",
        ),
        ({"followers.rack2.profile": "l5"}, "followers.rack2.profile", 'did you mean "l4"?'),
        ({"followers.rack2.gpus": 2}, "followers.rack2.gpus", "at most 1"),
        ({"sharedFolder.export": ABSENT}, "sharedFolder.export", 'sharedFolder.kind is "nfs"'),
        ({"sharedFolder.folder": "/data"}, "sharedFolder.folder", 'about "nfs-on-leader"'),
        ({"sharedFolder": {"kind": "path"}}, "sharedFolder.path", 'sharedFolder.kind is "path"'),
        (
            {"dataServices": {"kind": "containers", "postgresImage": f"postgres:16{DIGEST}"}},
            "dataServices.redisImage",
            "pinned by digest",
        ),
        (
            {"dataServices": {**CONTAINERS, "redisImage": "redis:7"}},
            "dataServices.redisImage",
            "pinned by digest",
        ),
        (
            {"dataServices.postgresImage": f"postgres:16{DIGEST}"},
            "dataServices.postgresImage",
            "brings its own",
        ),
        (
            {"dataServices": CONTAINERS, "sshPrivateKey": "-----BEGIN KEY PRIVATE KEY-----\nx"},
            "sshPrivateKey",
            "`ssh-add`",
        ),
        ({"release.source": "s3://bucket/key.tar"}, "release.source", "no role on AWS"),
        ({"release.source": "file:graphistry.tar"}, "release.source", "absolute path"),
        ({"release.sha256": ABSENT}, "release.sha256", "cannot verify"),
        ({"network": {"natGateways": "single"}}, "network", "a key that does not exist here"),
        (
            {"gpuProfiles.l4.instanceTypes": ["g6.xlarge"]},
            "gpuProfiles.l4.instanceTypes",
            "the keys gpus",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_one_mistake_gives_one_problem(changes: dict[str, Any], path: str, told: str) -> None:
    (problem,) = problems_of(changed(HOSTS, changes))
    assert problem.path == path
    assert told in str(problem)


def test_a_private_key_is_never_shown() -> None:
    (problem,) = problems_of(changed(HOSTS, {"sshPrivateKey": "hunter2"}))
    assert "hunter2" not in str(problem)
    assert "pulumi config set --stack STACK --secret sshPrivateKey" in str(problem)


def test_a_wrong_host_key_is_shown_for_it_is_public() -> None:
    (problem,) = problems_of(changed(HOSTS, {"leader.host.hostKey": "SHA256:abc"}))
    assert '"SHA256:abc"' in problem.got


def test_another_site_is_told() -> None:
    (problem,) = problems_of({**changed(HOSTS, {}), "site": "gcp"})[:1]
    assert (problem.path, problem.allowed) == ("site", '"aws" or "hosts"')


def test_the_hosts_of_a_file_for_aws_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"release\.source"):
        parse(
            {
                "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
                "leader": {"profile": "t4"},
                "release": {
                    "version": "2.50.1",
                    "cuda": "12",
                    "source": "file:/x.tar",
                    "sha256": "0" * 64,
                },
            }
        )


def test_a_file_for_aws_has_no_key_for_telemetry() -> None:
    """Security groups close it there."""
    (problem,) = problems_of(changed(FULL, {"telemetry": HOSTS["telemetry"]}))
    assert (problem.path, problem.got) == ("telemetry", "a key that does not exist here")


def test_defaults_are_those_of_the_docstrings() -> None:
    settings = on_hosts({key: HOSTS[key] for key in ("site", "gpuProfiles", "leader")})
    assert (settings.ssh.user, settings.ssh.port, settings.ssh.bastion) == ("ubuntu", 22, None)
    assert (settings.shared_folder.kind, settings.data_services.kind) == (
        "nfs-on-leader",
        "bundled",
    )
    assert settings.telemetry.allowed_cidrs == ()
    assert list(settings.nodes) == ["leader"]


def test_workers_follow_from_the_profile() -> None:
    settings = on_hosts(HOSTS)
    leader, rack2 = (node_allocation(settings, node) for node in ("leader", "rack2"))
    assert (leader.gpus, leader.forge_workers, leader.streamgl_workers) == (4, 8, 16)
    assert (rack2.gpus, rack2.forge_workers, rack2.dask_workers) == (1, 4, 1)


def test_what_a_host_says_wins_over_what_ssh_says() -> None:
    settings = on_hosts(HOSTS)
    leader = access_document(settings, settings.leader.host)
    rack2 = access_document(settings, settings.followers["rack2"].host)
    assert (leader["user"], leader["port"]) == ("operator", 22)
    assert (rack2["user"], rack2["port"]) == ("root", 2222)
    assert settings.private_address("rack2") == "10.0.0.12"
    assert leader["bastion"] == {
        "address": "bastion.lab",
        "user": "ubuntu",
        "port": 22,
        "hostKey": HOSTS["ssh"]["bastion"]["hostKey"],
    }


@pytest.mark.parametrize("path", list(places(HOSTS)), ids=str)
def test_any_wrong_value_is_told_in_plain_words(path: tuple[Any, ...]) -> None:
    for value in WRONG_VALUES:
        for problem in problems_of(replaced(HOSTS, path, value)):
            if "a value that is not shown" not in problem.got:
                assert not JARGON.search(f"{problem.allowed} {problem.hint}"), problem


@given(JSON)
def test_any_content_gives_settings_or_problems(raw: Any) -> None:
    assert_settings_or_problems({"site": "hosts", **(raw if isinstance(raw, dict) else {"x": raw})})


def test_aws_is_the_site_of_a_file_that_names_none() -> None:
    raw = {"gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}}, "leader": {"profile": "t4"}}
    assert isinstance(parse(raw), Settings)
    assert isinstance(parse({**raw, "site": "aws"}), Settings)
