"""`./cluster publish` for an account: what is checked, stored, and written into the stack file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from moto import mock_aws
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from model.problems import UserError
from operate.commands import publish as publishing
from operate.commands.publish import publish_archive
from operate.stack.deployment import Deployment, Target
from operate.stack.stack_file import read_stack_file
from sandbox.release import build_release
from tests.harness import ROOT

OWN = "graphistry-releases-123456789012-us-east-1"


@pytest.fixture
def stack_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack file of dev in a checkout of its own."""
    (tmp_path / "stacks").mkdir()
    monkeypatch.setattr(publishing, "ROOT", tmp_path)
    return Path(shutil.copy(ROOT / "stacks" / "Pulumi.dev.yaml", tmp_path / "stacks"))


@pytest.fixture
def opened(stack_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """The stack dev on an AWS of moto's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
    with mock_aws():
        yield Deployment(stack="dev", target=Target.AWS, environment={}, config_file=stack_file)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """A release on this computer."""
    return lambda version="2.50.1", cuda="12": build_release(tmp_path, version, cuda)


def released(stack_file: Path) -> dict[str, str]:
    found: dict[str, str] = read_stack_file(stack_file)["config"]["graphistry-cluster:release"]
    return found


def objects(bucket: str) -> list[str]:
    listed: Any = boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket=bucket)
    return [each["Key"] for each in listed.get("Contents", [])]


def test_source_and_checksum_are_written(
    opened: Deployment, stack_file: Path, archive: Callable[..., Path]
) -> None:
    publish_archive(opened, archive(), "", yes=False)
    (key,) = objects(OWN)
    release = released(stack_file)
    assert release["source"] == f"s3://{OWN}/{key}"
    assert key == f"graphistry-2.50.1-12-{release['sha256'][:12]}.tar.gz"
    written = stack_file.read_text()
    publish_archive(opened, archive(), "", yes=False)
    assert objects(OWN) == [key]
    assert stack_file.read_text() == written


def test_the_bucket_may_be_another(
    opened: Deployment, stack_file: Path, archive: Callable[..., Path]
) -> None:
    publish_archive(opened, archive(), "our-releases", yes=False)
    assert released(stack_file)["source"].startswith("s3://our-releases/")


@pytest.mark.parametrize(("version", "cuda"), [("2.51.3", "12"), ("2.50.1", "13")])
def test_another_version_is_written_after_a_yes_only(
    opened: Deployment, stack_file: Path, archive: Callable[..., Path], version: str, cuda: str
) -> None:
    before = stack_file.read_text()
    with pytest.raises(UserError, match=r"Nothing was uploaded.*--yes"):
        publish_archive(opened, archive(version, cuda), "", yes=False)
    assert stack_file.read_text() == before
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    publish_archive(opened, archive(version, cuda), "", yes=True)
    release = released(stack_file)
    assert (release["version"], release["cuda"]) == (version, cuda)
    assert release["source"].startswith(f"s3://{OWN}/graphistry-{version}-{cuda}-")


def test_a_release_that_no_stack_file_may_name_is_refused(
    opened: Deployment, archive: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match="This program knows no such release"):
        publish_archive(opened, archive("2.51.3", "11"), "", yes=True)


@pytest.mark.parametrize("bucket", ["s3://ours", "Ours"])
def test_a_wrong_bucket_is_told_before_the_archive_is_read(
    opened: Deployment, tmp_path: Path, bucket: str
) -> None:
    with pytest.raises(UserError, match="BUCKET: got"):
        publish_archive(opened, tmp_path / "not-even-there", bucket, yes=False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            None,
            "which is no file; give the vendor's archive: ./cluster publish STACK release.tar.gz",
        ),
        (b"", "is no archive of tar, by its first bytes; Graphistry's is release.tar.gz"),
        (b"<html>Sign in</html>", "is no archive of tar, by its first bytes"),
    ],
    ids=["nothing", "empty", "a web page"],
)
def test_a_wrong_file_is_told_before_anything_is_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    told: str,
) -> None:
    """Not after credentials, the engine, or a sandbox that is started for it."""
    monkeypatch.setattr(publishing, "deployment", None)
    monkeypatch.setattr(publishing, "require_reach", None)
    file = tmp_path / "release.tar.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(typer.Exit):
        publishing.publish("dev", file)
    assert told in capsys.readouterr().err


def test_credentials_are_asked_for_before_the_archive_is_read(
    opened: Deployment, archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> tuple[str, ...]:
        return ("the AWS credentials have expired",)

    monkeypatch.setattr("operate.commands.preparation.credentials", refused)
    monkeypatch.setattr("operate.release.storing.inspect", None)
    with pytest.raises(UserError, match="have expired"):
        publish_archive(opened, archive(), "", yes=False)
