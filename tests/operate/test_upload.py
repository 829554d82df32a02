"""An archive into a bucket in parts: resumed where it was cut, and never trusted without its checksum."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, EndpointConnectionError
from moto import mock_aws
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from model.problems import UserError
from operate.release import release_archive
from operate.release.release_archive import Part, ReleaseArchive
from operate.release.release_bucket import require_bucket, require_name
from operate.release.upload import upload

BUCKET, ACCOUNT = "graphistry-releases-test", "123456789012"
PART = 5 * 2**20
"""S3's smallest, which moto knows too."""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    # moto reads no conditions, and takes "nothing without TLS" for nothing at all.
    monkeypatch.setattr(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        require_bucket(client, BUCKET, ACCOUNT, "us-east-1", "aws")
        yield client


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseArchive:
    """Three parts and a bit; what is in it is no matter here."""
    file = tmp_path / "release.tar.gz"
    file.write_bytes(b"".join(bytes([number]) * PART for number in range(3)) + b"the end")
    reader = release_archive._Reader(file.open("rb"), PART, lambda _: None)
    return ReleaseArchive(
        file=file,
        sha256=reader.drain(),
        size=reader.offset,
        version="2.50.1",
        cuda="12",
        suffix=".tar.gz",
        parts=reader.parts,
    )


class Line:
    """A client of S3 whose line is cut after some parts; what was sent is counted."""

    def __init__(self, s3: Any, *, parts: int | None = None, error: Any = None) -> None:
        self._s3, self._left, self._error = s3, parts, error
        self.sent: Counter[int] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def upload_part(self, **asked: Any) -> Any:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise self._error
        self.sent[asked["PartNumber"]] += 1
        return self._s3.upload_part(**asked)


def stored(s3: Any, archive: ReleaseArchive) -> bytes:
    content: bytes = s3.get_object(Bucket=BUCKET, Key=archive.key)["Body"].read()
    return content


def unfinished(s3: Any) -> list[Any]:
    found: list[Any] = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return found


def test_an_archive_is_stored_whole_and_noted(s3: Any, archive: ReleaseArchive) -> None:
    added: list[int] = []
    assert upload(s3, BUCKET, archive, added.append) is True
    assert stored(s3, archive) == archive.file.read_bytes()
    assert sum(added) == archive.size
    assert s3.head_object(Bucket=BUCKET, Key=archive.key)["Metadata"] == {
        "graphistry-version": "2.50.1",
        "graphistry-cuda": "12",
        "graphistry-sha256": archive.sha256,
    }


def test_what_is_there_is_not_sent_again(s3: Any, archive: ReleaseArchive) -> None:
    upload(s3, BUCKET, archive, lambda _: None)
    line = Line(s3)
    assert upload(line, BUCKET, archive, lambda _: None) is False
    assert not line.sent


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (EndpointConnectionError(endpoint_url="https://s3"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["the line is cut", "Ctrl-C"],
)
def test_an_upload_that_was_cut_goes_on(
    s3: Any, archive: ReleaseArchive, error: BaseException, raised: type[BaseException]
) -> None:
    cut = Line(s3, parts=2, error=error)
    with pytest.raises(raised):
        upload(cut, BUCKET, archive, lambda _: None)
    assert len(cut.sent) == 2
    line = Line(s3)
    added: list[int] = []
    assert upload(line, BUCKET, archive, added.append) is True
    assert set(line.sent) == {1, 2, 3, 4} - set(cut.sent)
    assert sum(added) == archive.size
    assert stored(s3, archive) == archive.file.read_bytes()
    assert unfinished(s3) == []


@pytest.mark.parametrize("wrong", [b"x" * PART, b"short" * 2**20], ids=["content", "size"])
def test_a_part_that_is_not_the_files_is_sent_again(
    s3: Any, archive: ReleaseArchive, wrong: bytes
) -> None:
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key=archive.key, ChecksumAlgorithm="SHA256")[
        "UploadId"
    ]
    own = {"Bucket": BUCKET, "Key": archive.key, "UploadId": begun}
    s3.upload_part(**own, PartNumber=1, Body=wrong)
    s3.upload_part(**own, PartNumber=2, Body=b"\x01" * PART)
    line = Line(s3)
    upload(line, BUCKET, archive, lambda _: None)
    assert set(line.sent) == {1, 3, 4}
    assert stored(s3, archive) == archive.file.read_bytes()


def test_a_listed_checksum_counts_whatever_the_entity_tag_is(
    s3: Any, archive: ReleaseArchive
) -> None:
    """As with a KMS key, whose parts have tags that are no checksums."""
    cut = Line(s3, parts=2, error=EndpointConnectionError(endpoint_url="x"))
    with pytest.raises(UserError):
        upload(cut, BUCKET, archive, lambda _: None)
    parts = tuple(dataclasses.replace(part, md5="0" * 32) for part in archive.parts)
    line = Line(s3)
    line.get_paginator = Listing(s3, parts).get_paginator  # type: ignore[attr-defined]  # in place of S3's
    assert upload(line, BUCKET, dataclasses.replace(archive, parts=parts), lambda _: None)
    assert set(line.sent) == {1, 2, 3, 4} - set(cut.sent)


class Listing:
    """The lists of an S3 that says by which checksum a part was sent."""

    def __init__(self, s3: Any, parts: tuple[Part, ...]) -> None:
        self._s3, self._sha256 = s3, {part.number: part.sha256 for part in parts}

    def get_paginator(self, name: str) -> Any:
        real, sums = self._s3.get_paginator(name), self._sha256

        class Pages:
            def paginate(self, **asked: Any) -> Iterator[Any]:
                for page in real.paginate(**asked):
                    for part in page.get("Parts", []):
                        part["ChecksumSHA256"] = sums[part["PartNumber"]]
                    yield page

        return Pages()


def test_a_file_that_changed_meanwhile_is_not_stored(s3: Any, archive: ReleaseArchive) -> None:
    content = bytearray(archive.file.read_bytes())
    content[PART + 1] ^= 1
    archive.file.write_bytes(content)
    with pytest.raises(UserError, match="has changed since it was checked"):
        upload(s3, BUCKET, archive, lambda _: None)
    with pytest.raises(s3.exceptions.NoSuchKey):
        stored(s3, archive)


def test_another_object_under_the_name_is_replaced(s3: Any, archive: ReleaseArchive) -> None:
    s3.put_object(Bucket=BUCKET, Key=archive.key, Body=b"half of it")
    assert upload(s3, BUCKET, archive, lambda _: None) is True
    assert stored(s3, archive) == archive.file.read_bytes()


def test_a_new_bucket_is_private_encrypted_and_for_tls_only(s3: Any) -> None:
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert len(blocked) == 4
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (unfinished_uploads,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert unfinished_uploads["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7


def test_a_bucket_that_is_there_stays_as_it_is(s3: Any) -> None:
    s3.create_bucket(Bucket="my-own-bucket")
    require_bucket(s3, "my-own-bucket", ACCOUNT, "us-east-1", "aws")
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="my-own-bucket")


def test_a_bucket_is_made_in_the_region_of_the_stack(s3: Any) -> None:
    elsewhere = boto3.client("s3", region_name="eu-west-1")
    require_bucket(elsewhere, "releases-in-ireland", ACCOUNT, "eu-west-1", "aws")
    place = elsewhere.get_bucket_location(Bucket="releases-in-ireland")["LocationConstraint"]
    assert place == "eu-west-1"


@pytest.mark.parametrize("name", ["Not A Bucket", "ab", "s3://mine", "mine/", "-mine"])
def test_what_is_no_name_of_a_bucket_is_told(name: str) -> None:
    with pytest.raises(UserError, match="3 to 63 lower-case"):
        require_name(name)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, BotoCoreError])
def test_a_bucket_whose_guards_were_not_all_set_is_not_left_for_the_next_command(
    s3: Any, monkeypatch: pytest.MonkeyPatch, ends: type[BaseException]
) -> None:
    def stopped(**_: object) -> None:
        raise ends

    before = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    with monkeypatch.context() as patch:
        patch.setattr(s3, "put_bucket_policy", stopped)
        with pytest.raises(ends):
            require_bucket(s3, "half-a-bucket", ACCOUNT, "us-east-1", "aws")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == before
    require_bucket(s3, "half-a-bucket", ACCOUNT, "us-east-1", "aws")
    assert s3.get_bucket_policy(Bucket="half-a-bucket")["Policy"]
