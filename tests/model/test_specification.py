"""The node specification: always what its schema says, and one text and hash per content."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from model.settings.sections import Release
from model.specification import (
    POSTGRES_PORT,
    REDIS_PORT,
    SCHEMA_FILE,
    aws_specification,
    canonical_json,
    fingerprint,
)
from model.workers import GpuAllocation

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def node(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "cluster": "prod",
        "node": "leader",
        "joined_stack": None,
        "role": "leader",
        "region": "us-east-1",
        "bucket": "prod-nodes",
        "agent_key": "agent/1.zip",
        "agent_sha256": "a" * 64,
        "postgres": {"host": "leader.prod.internal", "port": POSTGRES_PORT},
        "redis": {"host": "leader.prod.internal", "port": REDIS_PORT},
        "file_system_id": "fs-0123456789abcdef0",
        "mount_targets": {"us-east-1a": "10.40.0.20"},
        "data_volume_id": "vol-0123456789abcdef0",
        "instance_types": ("g5.12xlarge", "g6.12xlarge"),
        "gpu": GpuAllocation(2, "0,1", 8, 7, 2, ("a warning",)),
        "release": Release(version="2.50.1", cuda="12"),
        "secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-abc",
        "followers_secret_arn": None,
        "use_local_disks": True,
        "containers_use_role": False,
        "mount_helper": None,
        "configuration": {"env": {"A": "b"}, "files": {"data/config/Caddyfile": ":80 {\n}\n"}},
        "secret_env": {"arn": "arn:aws:secretsmanager:us-east-1:1:secret:env", "version": "v-1"},
    }
    return aws_specification(**{**values, **changes})


FOLLOWER: dict[str, Any] = {"node": "big", "role": "follower", "data_volume_id": None}
FETCHED = Release(version="2.50.1", cuda="13", source="s3://releases/g.tar.gz", sha256="b" * 64)


def test_the_schema_is_itself_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "changes", [{}, FOLLOWER, {"release": FETCHED}, {"secret_env": None}], ids=str
)
def test_every_document_follows_the_schema(changes: dict[str, Any]) -> None:
    VALIDATOR.validate(node(**changes))


def test_the_document_says_what_it_was_given() -> None:
    document = node()
    assert document["endpoints"]["postgres"] == {"host": "leader.prod.internal", "port": 5432}
    assert document["sharedFolder"]["path"] == "/mnt/graphistry"
    assert document["gpu"] == {
        "instanceTypes": ["g5.12xlarge", "g6.12xlarge"],
        "gpusByType": {"g5.12xlarge": 4, "g6.12xlarge": 4},
        "gpus": 2,
        "cudaVisibleDevices": "0,1",
        "forgeWorkers": 8,
        "streamglWorkers": 7,
        "daskWorkers": 2,
    }


def objects(schema: Any) -> list[dict[str, Any]]:
    inner = (
        schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    )
    own = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    return own + [each for value in inner for each in objects(value)]


def test_the_schema_leaves_nothing_open() -> None:
    described = [each for each in objects(SCHEMA) if "properties" in each]
    assert len(described) > 10
    for each in described:
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])


WRONG: list[tuple[str, Any]] = [
    ("schemaVersion", 2),
    ("extra", 1),
    ("role", "primary"),
    ("dataVolume", None),
    ("site.kind", "hosts"),
    ("agent.sha256", "short"),
    ("endpoints.postgres.port", "5432"),
    ("endpoints.redis.password", "x"),
    ("sharedFolder.path", "relative"),
    ("gpu.gpus", 0),
    ("gpu.cudaVisibleDevices", "0, 1"),
    ("gpu.instanceTypes", []),
    ("release.cuda", "11"),
    ("release.sha256", "b" * 64),
    ("secret.value", "x"),
    ("secretEnv.value", "x"),
    ("secretEnv.arn", "x"),
    ("docker.useLocalDisks", "yes"),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[path for path, _ in WRONG])
def test_the_schema_refuses(path: str, value: Any) -> None:
    document = copy.deepcopy(node())
    *parents, last = path.split(".")
    target = document
    for parent in parents:
        target = target[parent]
    target[last] = value
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("changes", [{"data_volume_id": None}, {"role": "follower"}], ids=str)
def test_exactly_the_leader_has_a_data_volume(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the leader has a data volume, a follower has none"):
        node(**changes)


def test_the_fingerprint_is_the_hash_of_the_uploaded_bytes() -> None:
    text = canonical_json(node())
    assert json.loads(text) == node()
    assert fingerprint(node()) == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_the_fingerprint_depends_on_content_and_not_on_order() -> None:
    document = node()
    turned = dict(reversed(document.items()))
    assert fingerprint(turned) == fingerprint(document)
    assert fingerprint(node(use_local_disks=False)) != fingerprint(document)
