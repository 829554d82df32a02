"""The bucket of releases: found, or made private, encrypted and for TLS only.

It is the account's and no stack's: several stacks fetch the same archive, and none of them ends it.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from model.problems import UserError
from operate.terminal.messages import say

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

UNFINISHED_DAYS = 7
"""After which S3 forgets the parts of an upload that nobody resumed."""


def default_bucket(account: str, region: str) -> str:
    """The name of the bucket of releases of an account in a region; bucket names are one for all accounts of AWS."""
    return f"graphistry-releases-{account}-{region}"


def require_name(bucket: str) -> None:
    """Raise :class:`UserError` for what is no name of a bucket."""
    if not _NAME.fullmatch(bucket):
        raise UserError(
            f"BUCKET: got {bucket!r}; a bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens, without s3://"
        )


def require_bucket(s3: Any, bucket: str, account: str, region: str, partition: str) -> None:
    """Have the bucket in this account; one that is there stays as it is.

    Raises :class:`UserError` for one of another account. Without versions: an object's name tells its content, and is
    never written again with another one.
    """
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        return
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 403:
            raise UserError(
                f"the bucket {bucket} is another account's, or you may not s3:ListBucket it; `--bucket` takes another"
            ) from None
        if status != 404:
            raise
    _make(s3, bucket, region, partition)
    say(f"made the bucket {bucket}: private, encrypted, for TLS only")


def _make(s3: Any, bucket: str, region: str, partition: str) -> None:
    # One after the other: S3 refuses two changes of one new bucket at once (OperationAborted).
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    try:
        s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "BucketAlreadyExists":
            raise UserError(
                f"the bucket {bucket} belongs to another account; `--bucket` takes another name"
            ) from None
        raise
    try:
        _guard(s3, bucket, partition)
    except BaseException:
        # The next command would take it for one that somebody else has set up.
        with contextlib.suppress(BotoCoreError, ClientError):
            s3.delete_bucket(Bucket=bucket)
        raise


def _guard(s3: Any, bucket: str, partition: str) -> None:
    own = {"Bucket": bucket}
    blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(**own, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))
    # S3's own key: a role that may read the object needs no permission for a key.
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(**own, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_bucket_policy(**own, Policy=json.dumps(_tls_only(bucket, partition)))
    s3.put_bucket_lifecycle_configuration(
        **own,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "unfinished-uploads",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
                }
            ]
        },
    )


def _tls_only(bucket: str, partition: str) -> dict[str, object]:
    arn = f"arn:{partition}:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
