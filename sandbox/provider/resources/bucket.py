"""S3: buckets, their settings (one resource each) and objects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ..aws import Aws, tag_list
from ..table import Delete, Read, ResourceType, Update, deleted, described
from ..values import Properties, asset_content


def _create_bucket(aws: Aws, inputs: Properties) -> str:
    place = {"LocationConstraint": aws.region}
    extra = {} if aws.region == "us-east-1" else {"CreateBucketConfiguration": place}
    aws.call("s3.create_bucket", Bucket=inputs["bucket"], **extra)
    return str(inputs["bucket"])


def _bucket(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    aws.call("s3.head_bucket", Bucket=identifier)
    return {
        "bucket": identifier,
        "arn": f"arn:aws:s3:::{identifier}",
        "bucketDomainName": f"{identifier}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{identifier}.s3.{aws.region}.amazonaws.com",
        "bucketRegion": aws.region,
        "tags": _bucket_tags(aws, identifier),
    }


def _bucket_tags(aws: Aws, identifier: str) -> list[Any]:
    try:
        return list(aws.call("s3.get_bucket_tagging", Bucket=identifier)["TagSet"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return []


def _tag_bucket(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    present = {tag["Key"]: tag["Value"] for tag in _bucket_tags(aws, identifier)}
    kept = {key: value for key, value in {**present, **tags}.items() if key not in removed}
    aws.call("s3.put_bucket_tagging", Bucket=identifier, Tagging={"TagSet": tag_list(kept)})


def _delete_bucket(aws: Aws, identifier: str, inputs: Properties) -> None:
    if inputs.get("forceDestroy"):
        _delete_versions(aws, identifier, "")
    aws.call("s3.delete_bucket", Bucket=identifier)


def _delete_versions(aws: Aws, bucket: str, prefix: str, only: str | None = None) -> None:
    for kind in ("Versions", "DeleteMarkers"):
        for item in aws.pages("s3.list_object_versions", kind, Bucket=bucket, Prefix=prefix):
            if only in (None, item["Key"]):
                version = {"Key": item["Key"], "VersionId": item["VersionId"]}
                aws.call("s3.delete_object", Bucket=bucket, **version)


def _setting(put: Update, read: Read, delete: Delete, properties: str, **row: Any) -> ResourceType:
    """A setting of a bucket, which has the bucket's name as its id."""

    def create(aws: Aws, inputs: Properties) -> str:
        put(aws, inputs["bucket"], inputs)
        return str(inputs["bucket"])

    return ResourceType(
        fixed="bucket",
        updates={properties: put},
        create=create,
        read=read,
        delete=delete,
        replace_by_deleting=True,
        **row,
    )


def _put(operation: str, argument: str, *names: str) -> Update:
    """An update whose properties are the members of one argument."""

    def update(aws: Aws, identifier: str, inputs: Properties) -> None:
        body = {name: inputs[name] for name in names if name in inputs}
        aws.request(operation, {argument: body}, Bucket=identifier)

    return update


def _put_versioning(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = {"versioningConfiguration": inputs["versioningConfiguration"]}
    aws.request("s3.put_bucket_versioning", wanted, Bucket=identifier)


def _suspend_versioning(aws: Aws, identifier: str, inputs: Properties) -> None:
    _put_versioning(aws, identifier, {"versioningConfiguration": {"status": "Suspended"}})


def _put_ownership(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = {"ownershipControls": {"rules": [inputs["rule"]]}}
    aws.request("s3.put_bucket_ownership_controls", wanted, Bucket=identifier)


def _put_policy(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call("s3.put_bucket_policy", Bucket=identifier, Policy=inputs["policy"])


def _content(inputs: Properties) -> bytes:
    if "source" in inputs:
        return asset_content(inputs["source"])
    return str(inputs.get("content", "")).encode()


def _put_object(aws: Aws, identifier: str, inputs: Properties) -> None:
    extra = {"ContentType": inputs["contentType"]} if "contentType" in inputs else {}
    tags = _object_tags(aws, inputs["bucket"], inputs["key"]) if identifier else {}
    aws.call(
        "s3.put_object", Bucket=inputs["bucket"], Key=inputs["key"], Body=_content(inputs), **extra
    )
    if tags:  # a new version starts without the tags of the one before
        _tag_object(aws, f"{inputs['bucket']}/{inputs['key']}", tags, [])


def _create_object(aws: Aws, inputs: Properties) -> str:
    _put_object(aws, "", inputs)
    return f"{inputs['bucket']}/{inputs['key']}"


def _object(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    bucket, _, key = identifier.partition("/")
    answer = aws.call("s3.get_object", Bucket=bucket, Key=key)
    body = answer["Body"].read()
    found = {
        **{name: answer[name] for name in ("ContentType", "VersionId") if name in answer},
        "etag": answer["ETag"].strip('"'),
        "bucket": bucket,
        "key": key,
        "arn": f"arn:aws:s3:::{bucket}/{key}",
        "tags": tag_list(_object_tags(aws, bucket, key)),
    }
    if "source" in inputs:
        # the state keeps the hash of the file and not always the way to it
        same = hashlib.sha256(body).hexdigest() == inputs["source"].get("hash")
        return {**found, "source": inputs["source"] if same else None}
    return {**found, "content": body.decode(errors="replace")}


def _object_tags(aws: Aws, bucket: str, key: str) -> dict[str, str]:
    tags = aws.call("s3.get_object_tagging", Bucket=bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in tags}


def _tag_object(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    bucket, _, key = identifier.partition("/")
    merged = {**_object_tags(aws, bucket, key), **tags}
    kept = tag_list({name: value for name, value in merged.items() if name not in removed})
    aws.call("s3.put_object_tagging", Bucket=bucket, Key=key, Tagging={"TagSet": kept})


def _delete_object(aws: Aws, identifier: str, inputs: Properties) -> None:
    bucket, _, key = identifier.partition("/")
    _delete_versions(aws, bucket, key, only=key)


_ACCESS = "blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets"

TYPES = {
    "aws:s3/bucket:Bucket": ResourceType(
        fixed="bucket",
        local="forceDestroy",
        name="bucket",
        name_length=63,
        create=_create_bucket,
        read=_bucket,
        delete=_delete_bucket,
        tagger=_tag_bucket,
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _setting(
        _put_versioning,
        described(
            "s3.get_bucket_versioning",
            "Bucket",
            "Status && {versioningConfiguration: {Status: Status}}",
            identity="bucket",
        ),
        _suspend_versioning,
        "versioningConfiguration",
        nested={"versioningConfiguration": "status"},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        _setting(
            _put("s3.put_bucket_encryption", "serverSideEncryptionConfiguration", "rules"),
            described(
                "s3.get_bucket_encryption",
                "Bucket",
                "ServerSideEncryptionConfiguration",
                identity="bucket",
            ),
            deleted("s3.delete_bucket_encryption", "Bucket"),
            "rules",
            nested={
                "rules": "applyServerSideEncryptionByDefault bucketKeyEnabled",
                "rules.applyServerSideEncryptionByDefault": "sseAlgorithm kmsMasterKeyId",
            },
        )
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _setting(
        _put("s3.put_public_access_block", "publicAccessBlockConfiguration", *_ACCESS.split()),
        described(
            "s3.get_public_access_block",
            "Bucket",
            "PublicAccessBlockConfiguration",
            identity="bucket",
        ),
        deleted("s3.delete_public_access_block", "Bucket"),
        _ACCESS,
        defaults=dict.fromkeys(_ACCESS.split(), False),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting(
        _put_ownership,
        described(
            "s3.get_bucket_ownership_controls",
            "Bucket",
            "{rule: OwnershipControls.Rules[0]}",
            identity="bucket",
        ),
        deleted("s3.delete_bucket_ownership_controls", "Bucket"),
        "rule",
        nested={"rule": "objectOwnership"},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting(
        _put_policy,
        described("s3.get_bucket_policy", "Bucket", "@", identity="bucket"),
        deleted("s3.delete_bucket_policy", "Bucket"),
        "policy",
        documents="policy",
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _setting(
        _put("s3.put_bucket_lifecycle_configuration", "lifecycleConfiguration", "rules"),
        described("s3.get_bucket_lifecycle_configuration", "Bucket", "@", identity="bucket"),
        deleted("s3.delete_bucket_lifecycle", "Bucket"),
        "rules",
        nested={
            "rules": "id status filter expiration transitions noncurrentVersionExpiration"
            " noncurrentVersionTransitions abortIncompleteMultipartUpload",
            "rules.filter": "prefix objectSizeGreaterThan objectSizeLessThan",
            "rules.expiration": "days date expiredObjectDeleteMarker",
            "rules.transitions": "days date storageClass",
            "rules.noncurrentVersionExpiration": "noncurrentDays newerNoncurrentVersions",
            "rules.noncurrentVersionTransitions": "noncurrentDays newerNoncurrentVersions"
            " storageClass",
            "rules.abortIncompleteMultipartUpload": "daysAfterInitiation",
        },
    ),
    "aws:s3/bucketObjectv2:BucketObjectv2": ResourceType(
        fixed="bucket key",
        needed="key",
        updates={"content source contentType sourceHash": _put_object},
        recomputed="etag versionId",
        create=_create_object,
        read=_object,
        delete=_delete_object,
        tagger=_tag_object,
    ),
}
