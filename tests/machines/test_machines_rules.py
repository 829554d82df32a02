"""What can be told about machines without booting one."""

from __future__ import annotations

from pathlib import Path

import pytest
from dnslib import RCODE, DNSRecord

from sandbox.machines import availability, container, image, metadata, resolver
from sandbox.machines.firewall import Allowed, ruleset
from sandbox.machines.inventory import FileServer, Inventory, Machine


def machine(address: str = "10.0.0.9", zone: str = "us-east-1a", **more: object) -> Machine:
    values: dict[str, object] = {
        "identifier": "i-1",
        "region": "us-east-1",
        "zone": zone,
        "instance_type": "g4dn.xlarge",
        "image": "ami-1",
        "release": None,
        "address": address,
        "mac": "02:00:00:00:00:01",
        "vpc": "vpc-1",
        "groups": (),
        "role": "node",
        "hop_limit": 1,
        "user_data": b"#!/bin/sh\n",
        "tags": {"Name": "leader"},
        "running": True,
        "scaling_group": None,
        "healthy": True,
        "volumes": (),
    }
    return Machine(**{**values, **more})  # type: ignore[arg-type]


def inventory(*machines: Machine, **more: object) -> Inventory:
    server = FileServer(
        "fsmt-1", "fs-0a", "us-east-1", "us-east-1a", "10.0.0.20", "vpc-1", ("sg-1",)
    )
    values: dict[str, object] = {
        "machines": {each.identifier: each for each in machines},
        "file_servers": {"fsmt-1": server},
        "blocks": {"vpc-1": "10.0.0.0/16"},
        "volumes": frozenset(),
        "file_systems": frozenset({"fs-0a"}),
        "ingress": {},
        "egress": {},
        "records": {"leader.cluster.internal": ("10.0.0.5",)},
    }
    return Inventory(**{**values, **more})  # type: ignore[arg-type]


def chain(rules: str, name: str) -> list[str]:
    inside = rules.split(f"chain {name} {{")[1].split("}\n  chain")[0]
    return [line.strip() for line in inside.splitlines() if line.strip()]


def test_nothing_is_let_in_without_a_rule() -> None:
    accepted = [
        line for line in chain(ruleset([], [], "10.0.0.1"), "prerouting") if "accept" in line
    ]
    assert accepted == [
        'iifname != "eth0" accept',
        "ct state established,related accept",
        "ip saddr { 10.0.0.1, 169.254.169.254 } accept",
    ]
    assert "policy drop" in ruleset([], [], "10.0.0.1")


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (Allowed("tcp", 5432, 5432, ("10.0.0.7/32",)), "ip saddr { 10.0.0.7/32 } tcp dport 5432"),
        (Allowed("tcp", 80, 81, ("0.0.0.0/0",)), "tcp dport 80-81"),
        (Allowed("-1", -1, -1, ("10.0.0.0/8",)), "ip saddr { 10.0.0.0/8 }"),
        (Allowed("icmp", -1, -1, ("0.0.0.0/0",)), "meta l4proto icmp"),
        (Allowed("17", 53, 53, ("10.0.0.1/32",)), "ip saddr { 10.0.0.1/32 } udp dport 53"),
    ],
)
def test_a_rule_of_a_group_becomes_one_of_the_kernel(rule: Allowed, line: str) -> None:
    assert f"{line} accept" in chain(ruleset([rule], [], "10.0.0.1"), "prerouting")


def test_a_group_without_members_lets_nobody_in() -> None:
    rules = ruleset([Allowed("tcp", 5432, 5432, ())], [], "10.0.0.1")
    assert "5432" not in rules


def test_outbound_rules_are_about_the_destination() -> None:
    rules = ruleset([], [Allowed("tcp", 443, 443, ("10.1.0.0/16",))], "10.0.0.1")
    assert "ip daddr { 10.1.0.0/16 } tcp dport 443 accept" in chain(rules, "postrouting")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leader.cluster.internal.", ("10.0.0.5",)),
        ("LEADER.cluster.internal", ("10.0.0.5",)),
        ("fs-0a.efs.us-east-1.amazonaws.com", ("10.0.0.20",)),
        ("us-east-1a.fs-0a.efs.us-east-1.amazonaws.com", ("10.0.0.20",)),
        ("us-east-1b.fs-0a.efs.us-east-1.amazonaws.com", ()),
        ("fs-0a.efs.eu-west-1.amazonaws.com", ()),
        ("fs-0b.efs.us-east-1.amazonaws.com", ()),
        ("ip-10-0-0-9.ec2.internal", ("10.0.0.9",)),
        ("example.com", ()),
    ],
)
def test_names(name: str, expected: tuple[str, ...]) -> None:
    assert resolver.addresses(inventory(machine()), name, "10.0.0.9") == expected


def test_a_zone_without_mount_target_has_no_name_for_the_file_system() -> None:
    known = inventory(machine(zone="us-east-1b"))
    assert resolver.addresses(known, "fs-0a.efs.us-east-1.amazonaws.com", "10.0.0.9") == ()


@pytest.mark.parametrize(
    ("name", "kind", "answers", "code"),
    [
        ("leader.cluster.internal", "A", ["10.0.0.5"], RCODE.NOERROR),
        ("leader.cluster.internal", "AAAA", [], RCODE.NOERROR),
        ("nobody.cluster.internal", "A", [], RCODE.NXDOMAIN),
    ],
)
def test_answers(name: str, kind: str, answers: list[str], code: int) -> None:
    packet = DNSRecord.question(name, kind).pack()
    answer = DNSRecord.parse(resolver.reply(packet, inventory(machine()), "10.0.0.9"))
    assert [str(each.rdata) for each in answer.rr] == answers
    assert answer.header.rcode == code


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("latest/meta-data/instance-id", b"i-1"),
        ("2009-04-04/meta-data/placement/availability-zone", b"us-east-1a"),
        ("latest/meta-data/iam/security-credentials/", b"node"),
        ("latest/meta-data/placement", b"availability-zone\nregion"),
        ("latest/user-data", b"#!/bin/sh\n"),
        ("latest/meta-data/tags/instance/Name", b"leader"),
        ("latest/meta-data/nothing", None),
        ("latest/meta-data/instance-id/more", None),
    ],
)
def test_metadata(path: str, expected: bytes | None) -> None:
    assert metadata.look_up(machine(), path) == expected


def test_a_machine_without_role_has_no_credentials() -> None:
    assert (
        metadata.look_up(machine(role=None), "latest/meta-data/iam/security-credentials/") is None
    )


def answer(path: str, method: str = "GET", **headers: str) -> tuple[str, bytes]:
    return ask(metadata.application(lambda _: machine()), path, method, **headers)


def ask(application: object, path: str, method: str, **headers: str) -> tuple[str, bytes]:
    told: list[str] = []
    environ = {"REMOTE_ADDR": "10.0.0.9", "PATH_INFO": path, "REQUEST_METHOD": method, **headers}
    body = application(environ, lambda status, _: told.append(status))  # type: ignore[operator]
    return told[0].split()[0], b"".join(body)


def test_tokens_are_known_or_refused() -> None:
    application = metadata.application(lambda _: machine())
    status, token = ask(application, "/latest/api/token", "PUT")
    assert status == "200"
    path, name = "/latest/meta-data/instance-id", metadata.TOKEN_HEADER
    assert ask(application, path, "GET", **{name: token.decode()}) == ("200", b"i-1")
    assert ask(application, path, "GET", **{name: "another"})[0] == "401"


def test_an_address_of_no_machine_learns_nothing() -> None:
    application = metadata.application(lambda _: None)
    assert ask(application, "/latest/meta-data/instance-id", "GET")[0] == "404"


def test_gpus_are_those_of_the_type() -> None:
    assert [gpu["name"] for gpu in container.gpus("i-1", "g4dn.12xlarge")] == ["Tesla T4"] * 4
    assert container.gpus("i-1", "t3.micro") == []
    one, two = container.gpus("i-1", "g6.12xlarge")[:2]
    assert one["uuid"] != two["uuid"]
    assert one == container.gpus("i-1", "g6.12xlarge")[0]


def test_machines_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_MACHINES", "off")
    said: list[str] = []
    assert availability.prepare(said.append) is None
    assert said == []


def test_another_user_is_told_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANDBOX_MACHINES", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said: list[str] = []
    assert availability.prepare(said.append) is None
    assert len(said) == 1
    assert "root" in said[0]


def test_a_root_without_a_needed_capability_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANDBOX_MACHINES", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(image, "works", lambda _: True)
    monkeypatch.setattr(availability, "capability_bound", lambda: ~(1 << 12))
    said: list[str] = []
    assert availability.prepare(said.append) is None
    (line,) = said
    assert "NET_ADMIN" in line
    assert "SYS_ADMIN" not in line


def test_the_image_is_named_by_what_it_is_made_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = image.base_archive()
    assert before.parent == tmp_path / "graphistry-cluster"
    monkeypatch.setattr(image, "PACKAGES", f"{image.PACKAGES},vim")
    assert image.base_archive() != before
