"""An archive into a bucket in parts, resumed where it was cut.

What is resumed is whatever S3 has of an earlier upload of the same object; a part counts where its checksum is the one
of the file, however it came there.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from model.problems import UserError
from operate.release.release_archive import Part, ReleaseArchive
from operate.terminal.messages import say
from preflight.archive_at import NOTED

AT_ONCE = 4
"""Parts under way; one connection to S3 seldom fills a fast line."""

PATIENCE = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 6},
    max_pool_connections=AT_ONCE * 2,
    tcp_keepalive=True,
)
"""Of each request; botocore tries a part again by itself."""


def upload(s3: Any, bucket: str, archive: ReleaseArchive, progress: Callable[[int], None]) -> bool:
    """Have *archive* in *bucket*; False where it was there already. *progress* gets the bytes that each part adds.

    Raises :class:`UserError` for a file that changed meanwhile, and for a line that is cut; what is there by then is
    resumed by the next call.
    """
    if _is_there(s3, bucket, archive):
        return False
    identity, present = _resumed(s3, bucket, archive)
    if present:
        say(
            f"going on with an upload that was cut: {len(present)} of {len(archive.parts)} parts are there"
        )
    if identity is None:
        identity = _begun(s3, bucket, archive)
    tags = dict(present)
    for number in present:
        progress(archive.parts[number - 1].size)
    missing = [part for part in archive.parts if part.number not in present]
    for part, tag in _sent(s3, bucket, archive, identity, missing):
        tags[part.number] = tag
        progress(part.size)
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key=archive.key,
        UploadId=identity,
        MultipartUpload={
            "Parts": [
                {
                    "PartNumber": each.number,
                    "ETag": tags[each.number],
                    "ChecksumSHA256": each.sha256,
                }
                for each in archive.parts
            ]
        },
    )
    return True


def _is_there(s3: Any, bucket: str, archive: ReleaseArchive) -> bool:
    try:
        found = s3.head_object(Bucket=bucket, Key=archive.key)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return False
        raise
    noted = found["Metadata"].get(f"{NOTED}sha256")
    return bool(found["ContentLength"] == archive.size and noted == archive.sha256)


def _begun(s3: Any, bucket: str, archive: ReleaseArchive) -> str:
    noted = {"version": archive.version, "cuda": archive.cuda, "sha256": archive.sha256}
    answer = s3.create_multipart_upload(
        Bucket=bucket,
        Key=archive.key,
        ChecksumAlgorithm="SHA256",
        Metadata={f"{NOTED}{name}": value for name, value in noted.items()},
    )
    return str(answer["UploadId"])


def _resumed(s3: Any, bucket: str, archive: ReleaseArchive) -> tuple[str | None, dict[int, str]]:
    """The upload of this object that has most of it, and its sound parts: number to entity tag."""
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=archive.key)
    best: tuple[str | None, dict[int, str]] = (None, {})
    for page in pages:
        for each in page.get("Uploads", []):
            if each["Key"] == archive.key and each.get("ChecksumAlgorithm") == "SHA256":
                sound = dict(_sound_parts(s3, bucket, archive, each["UploadId"]))
                if best[0] is None or len(sound) > len(best[1]):
                    best = (each["UploadId"], sound)
    return best


def _sound_parts(
    s3: Any, bucket: str, archive: ReleaseArchive, identity: str
) -> Iterator[tuple[int, str]]:
    wanted = {part.number: part for part in archive.parts}
    pages = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key=archive.key, UploadId=identity
    )
    for page in pages:
        for each in page.get("Parts", []):
            part = wanted.get(each["PartNumber"])
            if part is None or each["Size"] != part.size:
                continue
            # S3 lists the checksum that a part was sent with; the sandbox's lists none, and its entity tag is the MD5.
            checksum = each.get("ChecksumSHA256")
            if (checksum or each["ETag"].strip('"')) == (part.sha256 if checksum else part.md5):
                yield part.number, each["ETag"]


def _sent(
    s3: Any, bucket: str, archive: ReleaseArchive, identity: str, missing: list[Part]
) -> Iterator[tuple[Part, str]]:
    """Each part as it has arrived, and its entity tag."""

    def send(part: Part) -> str:
        with archive.file.open("rb") as stream:
            stream.seek(part.offset)
            content = stream.read(part.size)
        if base64.b64encode(hashlib.sha256(content).digest()).decode() != part.sha256:
            raise UserError(
                f"{archive.file} has changed since it was checked; the same command begins anew"
            )
        answer = s3.upload_part(
            Bucket=bucket,
            Key=archive.key,
            UploadId=identity,
            PartNumber=part.number,
            Body=content,
            ChecksumSHA256=part.sha256,  # S3 refuses what changes on the way
        )
        return str(answer["ETag"])

    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    try:
        running = {pool.submit(send, part): part for part in missing}
        for done in as_completed(running):
            yield running[done], done.result()
    except KeyboardInterrupt:
        say("ending after the parts that are under way; Ctrl-C again ends at once")
        try:
            pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            os._exit(130)  # Python itself would wait for the threads
        raise
    except BotoCoreError as error:
        raise UserError(
            f"the upload was cut: {error}. The same command goes on with the parts that are there"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
