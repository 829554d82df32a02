"""Where a rehearsal fetches its release: published for it, a stand-in at home, or as the stack file says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.rehearsal import as_told, told
from model.settings.aws import Settings
from model.settings.read import parse
from model.settings.sections import Release
from operate.release.release_archive import inspect
from operate.stack.rehearsed_release import (
    Rehearsed,
    rehearsed_release,
    release_of_cluster,
    remember,
    with_release,
)
from operate.stack.stack_file import settings_of

PUBLISHED = Release(version="2.50.1", cuda="12", source="s3://published/key", sha256="a" * 64)
RAW: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
    "leader": {"profile": "t4"},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rehearsed(sandbox: Path, *, at_home: bool = False, **changes: Any) -> Rehearsed | None:
    settings = parse({**RAW, **changes})
    assert isinstance(settings, Settings)
    return rehearsed_release(sandbox, "mine", settings, "us-east-1", at_home=at_home)


def test_a_stack_of_an_account_has_what_was_published_for_it_and_else_what_its_file_says(
    tmp_path: Path,
) -> None:
    assert rehearsed(tmp_path) is None
    remember(tmp_path, "other", PUBLISHED)
    assert rehearsed(tmp_path) is None
    remember(tmp_path, "mine", PUBLISHED)
    assert rehearsed(tmp_path) == Rehearsed(release=PUBLISHED)


@pytest.mark.parametrize("change", [{"version": "2.51.3"}, {"cuda": "13"}])
def test_what_was_published_is_of_one_version_and_flavour(
    tmp_path: Path, change: dict[str, str]
) -> None:
    remember(tmp_path, "mine", PUBLISHED)
    assert rehearsed(tmp_path, release={"version": "2.50.1", "cuda": "12", **change}) is None


def test_a_stack_at_home_in_the_sandbox_has_a_stand_in_of_its_release(tmp_path: Path) -> None:
    release = {"version": "2.51.3", "cuda": "13"}
    found = rehearsed(tmp_path, at_home=True, release=release)
    assert found is not None
    assert found.stand_in is not None
    archive = inspect(found.stand_in)
    assert (archive.version, archive.cuda) == ("2.51.3", "13")
    assert found.release.sha256 == hashlib.sha256(found.stand_in.read_bytes()).hexdigest()
    bucket = "graphistry-releases-123456789012-us-east-1"
    assert found.release.source == f"s3://{bucket}/{archive.key}"
    assert rehearsed(tmp_path, at_home=True, release=release) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"image": {"marketplace": True}},
        {"image": {"id": "ami-0123456789abcdef0", "release": "preinstalled"}},
        {"release": PUBLISHED.model_dump(by_alias=True)},
    ],
    ids=["the Marketplace's image", "an image of one's own", "an archive of one's own"],
)
def test_at_home_too_the_stack_file_comes_first(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert rehearsed(tmp_path, at_home=True, **changes) is None


def test_what_is_remembered_is_no_release_once_it_is_damaged(tmp_path: Path) -> None:
    remember(tmp_path, "mine", PUBLISHED)
    (tmp_path / "published" / "mine.json").write_text('{"version": "2.50')
    assert rehearsed(tmp_path) is None


def test_a_joined_stack_has_the_release_of_its_leaders_rehearsal(tmp_path: Path) -> None:
    joined = parse(
        {
            "gpuProfiles": RAW["gpuProfiles"],
            "leaderStack": "organization/graphistry-cluster/mine",
        }
    )
    assert release_of_cluster(tmp_path, joined) is None
    config = {f"graphistry-cluster:{key}": value for key, value in RAW.items()}
    config = with_release({"aws:region": "us-east-1", **config}, PUBLISHED)
    assert settings_of(config).model_dump()["release"] == PUBLISHED.model_dump()
    (tmp_path / "stacks").mkdir()
    text = yaml.safe_dump({"config": json.loads(json.dumps(config))})
    (tmp_path / "stacks" / "Pulumi.mine.yaml").write_text(text)
    assert release_of_cluster(tmp_path, joined) == PUBLISHED


@pytest.mark.parametrize(
    ("release", "is_told"),
    [
        (None, True),
        ({"version": "2.51.3", "cuda": "12"}, False),
        ({"version": "2.50.1", "cuda": "13"}, False),
        ({**PUBLISHED.model_dump(by_alias=True), "source": "s3://mine/key"}, False),
    ],
    ids=["no archive", "another version", "another flavour", "an archive of its own"],
)
def test_plain_pulumi_is_told_where_the_release_is(
    release: dict[str, Any] | None, *, is_told: bool
) -> None:
    settings = parse({**RAW, **({"release": release} if release else {})})
    found = as_told(settings, told(PUBLISHED))
    assert isinstance(found, Settings)
    assert (found.release == PUBLISHED) is is_told
    assert as_told(settings, {}) == settings
