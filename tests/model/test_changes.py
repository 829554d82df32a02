"""What a change of each key does: declared for every key, as the docstrings say it, and found between two files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from model.changed_keys import changed_keys
from model.changes import ON_AWS, ON_HOSTS, Change, Effect
from model.settings import aws, configuration, hosts, image, sections
from model.settings.aws import JoinedSettings, Settings
from model.settings.fields import declared_keys
from model.settings.hosts import HostsSettings, JoinedHostsSettings
from model.settings.read import parse
from tests.model.examples import ABSENT, FULL, HOSTS, SMALLEST, changed

SITES: list[tuple[Mapping[str, Change], tuple[type[Any], ...]]] = [
    (ON_AWS, (Settings, JoinedSettings)),
    (ON_HOSTS, (HostsSettings, JoinedHostsSettings)),
]
WORDS = {
    Effect.IN_PLACE: r"[Ii]n\s+place|touch|moves\s+nothing|restart|starts it as|any\s+time|installation|Follows",
    Effect.NEXT_MACHINE: r"next\s+(machine|replacement)|created\s+later",
    Effect.ROLLING: r"leader\s+first|reinstalls",
    Effect.REPLACES: r"replace|moves the machine|gpuProfiles|removed from the old",
    Effect.NEVER: r"never|refused|refuse it|another\s+cluster|[Oo]ther\s+data",
}
"""How docstrings say what is declared."""


@pytest.mark.parametrize(("declared", "models"), SITES, ids=["aws", "hosts"])
def test_every_key_declares_what_a_change_of_it_does_and_no_other(
    declared: Mapping[str, Change], models: tuple[type[Any], ...]
) -> None:
    keys = {key for model in models for key, _, _ in declared_keys(model)}
    assert set(declared) == keys


@pytest.mark.parametrize(("declared", "models"), SITES, ids=["aws", "hosts"])
def test_the_docstrings_say_what_is_declared(
    declared: Mapping[str, Change], models: tuple[type[Any], ...]
) -> None:
    documented = dict(docstrings())
    wrong = [
        (key, change.effect.value, documented[section, field])
        for model in models
        for key, section, field in declared_keys(model)
        for change in every(declared[key])
        if not re.search(WORDS[change.effect], documented[section, field] + documented[section, ""])
    ]
    assert wrong == []


def test_a_change_that_stops_the_leader_says_so() -> None:
    """The provider stops it, changes what only a stopped machine lets change, and starts it."""
    documented = dict(docstrings())
    for key, section, field in (
        ("leader.profile", "Leader", "profile"),
        ("leader.capacityReservation", "Leader", "capacity_reservation"),
    ):
        assert "stops and starts" in ON_AWS[key].words
        assert "stops and starts the machine" in documented[section, field]


def every(change: Change) -> Iterator[Change]:
    """It and what it is for the leader, for a smaller number and for the key's removal."""
    yield change
    for other in (change.to_leader, change.smaller, change.taken_out):
        if other is not None:
            yield from every(other)


def docstrings() -> Iterator[tuple[tuple[str, str], str]]:
    """Name of a section and of its attribute, or nothing for itself, to what is written below it."""
    for module in (aws, hosts, sections, image, configuration):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        classes = [each for each in tree.body if isinstance(each, ast.ClassDef)]
        for section in classes:
            yield (section.name, ""), ast.get_docstring(section) or ""
            for field, text in zip(section.body, section.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    assert isinstance(field.target, ast.Name)
                    assert isinstance(text.value, ast.Constant)
                    yield (section.name, field.target.id), str(text.value.value)


def changes(before: dict[str, Any], change: dict[str, object]) -> list[tuple[object, ...]]:
    found = changed_keys(parse(before), parse(changed(before, change)))
    return [(each.path, each.nodes, each.effect) for each in found]


def test_what_is_the_same_is_no_change() -> None:
    assert changes(FULL, {}) == []
    assert changes(HOSTS, {}) == []
    assert changes(SMALLEST, {"network.natGateways": "single", "image": {}}) == []


def test_a_changed_type_is_told_for_leader_and_followers_apart() -> None:
    assert changes(FULL, {"gpuProfiles.t4.instanceTypes": ["g4dn.8xlarge"]}) == [
        ("gpuProfiles.t4.instanceTypes", ("leader",), Effect.IN_PLACE),
        ("gpuProfiles.t4.instanceTypes", ("small",), Effect.REPLACES),
    ]


def test_a_lock_replaces_the_leaders_machine_only() -> None:
    lock = {"us-east-1": {"id": "ami-0123456789abcdef1", "driver": "590.48.01"}}
    before = changed(FULL, {"image": {"lock": {"us-east-1": {"id": "ami-0123456789abcdef0"}}}})
    assert changes(before, {"image.lock": lock}) == [
        ("image.lock.us-east-1.id", ("leader",), Effect.REPLACES),
        ("image.lock.us-east-1.id", ("big", "small"), Effect.NEXT_MACHINE),
        ("image.lock.us-east-1.driver", ("leader", "big", "small"), Effect.IN_PLACE),
    ]


def test_another_host_is_another_leader_and_the_same_follower() -> None:
    assert changes(HOSTS, {"leader.host.address": "10.0.0.98"}) == [
        ("leader.host.address", ("leader",), Effect.NEVER)
    ]
    assert changes(HOSTS, {"followers.rack2.host.address": "other.lab"}) == [
        ("followers.rack2.host.address", ("rack2",), Effect.REPLACES)
    ]


def test_who_reaches_telemetry_is_told_to_every_node_in_place() -> None:
    assert changes(HOSTS, {"telemetry": ABSENT}) == [
        ("telemetry.allowedCidrs", ("leader", "rack2"), Effect.IN_PLACE)
    ]


def test_a_follower_that_is_new_or_gone_is_one_change() -> None:
    new = {"profile": "t4", "market": "spot"}
    assert changes(FULL, {"followers.third": new, "followers.small": ABSENT}) == [
        ("followers.third", (), Effect.IN_PLACE),
        ("followers.small", (), Effect.IN_PLACE),
    ]


def test_values_are_told_as_the_stack_file_says_them() -> None:
    after = changed(FULL, {"leader.availabilityZone": "us-east-1b", "access": {}})
    zone, blocks = changed_keys(parse(FULL), parse(after))
    assert (zone.before, zone.after) == ('"us-east-1a"', '"us-east-1b"')
    assert zone.effect is Effect.NEVER
    assert (blocks.before, blocks.after) == ("[10.0.0.0/8, 203.0.113.7/32]", "[]")


def test_a_disk_of_the_leader_never_shrinks_and_one_of_a_follower_does_with_its_machine() -> None:
    smaller = changes(FULL, {"leader.dataVolume.sizeGib": 20, "gpuProfiles.t4.rootVolumeGib": 150})
    assert smaller == [
        ("gpuProfiles.t4.rootVolumeGib", ("leader",), Effect.NEVER),
        ("gpuProfiles.t4.rootVolumeGib", ("small",), Effect.NEXT_MACHINE),
        ("leader.dataVolume.sizeGib", ("leader",), Effect.NEVER),
    ]
    larger = changes(FULL, {"leader.dataVolume.sizeGib": 999, "gpuProfiles.t4.rootVolumeGib": 999})
    assert [effect for *_, effect in larger] == [
        Effect.IN_PLACE,
        Effect.NEXT_MACHINE,
        Effect.IN_PLACE,
    ]


def test_nor_does_it_by_another_profile() -> None:
    small = {"instanceTypes": ["g4dn.2xlarge"], "rootVolumeGib": 100}
    told = changes(FULL, {"gpuProfiles.tiny": small, "leader.profile": "tiny"})
    assert ("gpuProfiles.tiny.rootVolumeGib", ("leader",), Effect.NEVER) in told
    large = {**small, "rootVolumeGib": 1000}
    told = changes(FULL, {"gpuProfiles.tiny": large, "leader.profile": "tiny"})
    assert Effect.NEVER not in [effect for *_, effect in told]


def test_to_write_the_zone_in_which_the_leader_is_changes_nothing() -> None:
    without = changed(FULL, {"leader.availabilityZone": ABSENT})
    held = {"leader.availabilityZone": "us-east-1a"}
    assert changed_keys(parse(without), parse(FULL), held) == ()
    assert changed_keys(parse(FULL), parse(without), held) == ()
    other = parse(changed(FULL, {"leader.availabilityZone": "us-east-1b"}))
    (told,) = changed_keys(parse(without), other, held)
    assert (told.before, told.after, told.effect) == ('"us-east-1a"', '"us-east-1b"', Effect.NEVER)
    # A run that gave up the old volume and failed later.
    assert changed_keys(parse(FULL), other, {"leader.availabilityZone": "us-east-1b"}) == ()


def test_a_snapshot_takes_no_place_in_a_running_cluster_and_taking_it_out_touches_nothing() -> None:
    key, snapshot = "leader.dataVolume.snapshotId", "snap-0123456789abcdef0"
    begun = changed(FULL, {key: snapshot})
    assert changes(FULL, {key: snapshot}) == [(key, ("leader",), Effect.NEVER)]
    assert changes(begun, {key: "snap-11111111"}) == [(key, ("leader",), Effect.NEVER)]
    assert changes(begun, {key: ABSENT}) == [(key, ("leader",), Effect.IN_PLACE)]


def test_another_site_is_another_cluster() -> None:
    (change,) = changed_keys(parse(FULL), parse(HOSTS))
    assert change.effect is Effect.NEVER


def test_no_private_key_is_told() -> None:
    keys = [f"-----BEGIN PRIVATE KEY-----\n{word}" for word in ("canary", "other")]
    before, after = (parse({**HOSTS, "sshPrivateKey": key}) for key in keys)
    (change,) = changed_keys(before, after)
    assert "canary" not in f"{change}"


def test_of_secret_variables_is_told_whether_there_are_any() -> None:
    before, after = (
        parse(changed(FULL, {"secretEnv": variables})) for variables in ({}, {"A": "canary"})
    )
    (change,) = changed_keys(before, after)
    assert (change.path, change.before, change.after) == (
        "secretEnv",
        "nothing",
        "encrypted variables",
    )
    assert set(change.nodes) == {"leader", *FULL["followers"]}
    assert change.effect is Effect.IN_PLACE
    assert "canary" not in f"{change}"
    other = parse(changed(FULL, {"secretEnv": {"A": "another", "B": "canary"}}))
    assert changed_keys(after, other) == ()


def test_a_further_type_leaves_the_machine_and_one_less_may_replace_it() -> None:
    types = "gpuProfiles.t4.instanceTypes"
    more = ["g4dn.2xlarge", "g4dn.4xlarge", "g4dn.8xlarge"]
    assert changes(FULL, {types: more})[1] == (types, ("small",), Effect.NEXT_MACHINE)
    assert changes(FULL, {types: more[1::-1]})[1] == (types, ("small",), Effect.NEXT_MACHINE)
    assert changes(FULL, {types: more[:1]})[1] == (types, ("small",), Effect.REPLACES)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (["us-east-1a"], ["us-east-1a", "us-east-1b"], Effect.NEXT_MACHINE),
        (["us-east-1a"], [], Effect.NEXT_MACHINE),
        (["us-east-1a"], ["us-east-1b"], Effect.REPLACES),
        (["us-east-1a", "us-east-1b"], ["us-east-1b"], Effect.REPLACES),
        ([], ["us-east-1b"], Effect.REPLACES),
    ],
)
def test_zones_that_leave_the_list_may_move_the_machine_at_once(
    before: list[str], after: list[str], effect: Effect
) -> None:
    key = "followers.small.availabilityZones"
    assert changes(changed(FULL, {key: before}), {key: after}) == [(key, ("small",), effect)]


def test_packed_moves_machines_at_once_and_spread_none() -> None:
    """The follower that names its zones is not placed."""
    packed, spread = (changed(FULL, {"placement": each}) for each in ("packed", "spread"))
    assert changes(spread, {"placement": "packed"}) == [("placement", ("small",), Effect.REPLACES)]
    assert changes(packed, {"placement": "spread"}) == [
        ("placement", ("small",), Effect.NEXT_MACHINE)
    ]


def test_another_market_is_another_machine() -> None:
    assert changes(FULL, {"followers.small.market": "spot"}) == [
        ("followers.small.market", ("small",), Effect.REPLACES)
    ]
