"""The schema of stack files, by which editors complete and check them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from model.settings.stack_keys import MODELINE
from tests.harness import ROOT
from tools import generate_schema

STACKS = sorted((ROOT / "stacks").glob("Pulumi.*.yaml"))
SCHEMA = json.loads(generate_schema.FILE.read_text())
JUDGE = Draft202012Validator(SCHEMA)
SECRET = {"secure": "v1:abc:def"}


def stack(name: str) -> Any:
    return yaml.safe_load((ROOT / "stacks" / f"Pulumi.{name}.yaml").read_text())


def problems(content: Any) -> list[str]:
    return [f"{each.json_path}: {each.message}" for each in JUDGE.iter_errors(content)]


def test_it_is_current() -> None:
    current = generate_schema.FILE.read_text() == generate_schema.text()
    assert current, "run .venv/bin/python -m tools.generate_schema"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", STACKS, ids=lambda each: each.name)
def test_every_stack_file_names_it_and_passes(file: Path) -> None:
    assert file.read_text().splitlines()[0] == MODELINE
    assert (file.parent / "../schemas/stack.schema.json").resolve() == generate_schema.FILE
    assert problems(yaml.safe_load(file.read_text())) == []


@pytest.mark.parametrize("file", STACKS, ids=lambda each: each.name)
def test_a_misspelt_key_is_refused_at_every_depth(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    for misspelt in _misspelt(content["config"]):
        assert problems({**content, "config": misspelt}) != []


def _misspelt(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies of a map, each with one key of a section wrong; names and tags are free."""
    free = ("gpuProfiles", "followers", "tags", "lock", "env", "files")
    found = []
    for key, inner in value.items():
        name = key.rpartition(":")[2]
        wrong = {f"{each}x" if each == key else each: value[each] for each in value}
        found.append(wrong)
        if isinstance(inner, dict) and name not in free:
            found += [{**value, key: each} for each in _misspelt(inner)]
        elif isinstance(inner, dict) and name in ("gpuProfiles", "followers"):
            for entry, section in inner.items():
                found += [{**value, key: {**inner, entry: each}} for each in _misspelt(section)]
    return found


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("dev", "graphistry-cluster:secretEnv", {"SMTP_PASSWORD": SECRET}),
        ("dev", "graphistry-cluster:tags", {"größe": "klein"}),
        ("dev", "graphistry-cluster:deleteData", "dev"),
        ("dev", "pulumi:disable-default-providers", ["*"]),
        ("onprem", "graphistry-cluster:sshPrivateKey", SECRET),
        ("onprem", "aws:region", "us-east-1"),
    ],
)
def test_what_may_stand_beside_is_taken(name: str, key: str, value: object) -> None:
    content = stack(name)
    content["config"][key] = value
    assert problems(content) == []


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("dev", "graphistry-cluster:secretEnv", {"SMTP_PASSWORD": "in plain"}),
        ("dev", "graphistry-cluster:secretEnv", SECRET),
        ("dev", "aws:region", "Virginia"),
        ("dev", "aws:secretKey", "AKIA"),
        ("dev", "graphistry-cluster:ssh", {"user": "ubuntu"}),
        ("dev", "graphistry-cluster:leaderStack", "organization/graphistry-cluster/prod"),
        ("dev", "graphistry-cluster:gpuProfiles", {"t4": {"instanceTypes": ["g4dn.tiny"]}}),
        ("onprem", "graphistry-cluster:sshPrivateKey", "-----BEGIN PRIVATE KEY-----"),
        ("onprem", "graphistry-cluster:network", {}),
        ("gpu-team", "graphistry-cluster:release", {"version": "2.50.1", "cuda": "12"}),
    ],
)
def test_what_no_stack_of_that_kind_has_is_refused(name: str, key: str, value: object) -> None:
    content = copy.deepcopy(stack(name))
    content["config"][key] = value
    assert problems(content) != []


def test_a_stack_on_aws_needs_a_region() -> None:
    content = stack("dev")
    del content["config"]["aws:region"]
    assert problems(content) == ["$.config: 'aws:region' is a required property"]


def test_every_key_is_described() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, value in definition["properties"].items():
            assert value.get("description"), (name, key)
