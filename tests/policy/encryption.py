"""Rules on encryption, at rest and on the way. What Secrets Manager and CloudWatch Logs hold is always encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.harness import Registration


def unencrypted_at_rest(registrations: Sequence[Registration]) -> Iterator[str]:
    """Every volume, root disk, file system and bucket is encrypted."""
    buckets = {
        each.inputs["bucket"]
        for each in registrations
        if each.kind == "BucketServerSideEncryptionConfiguration" and each.inputs["rules"]
    }
    for each in registrations:
        if each.kind in ("Volume", "FileSystem"):
            disks = [each.inputs]
        elif each.kind == "Instance":
            disks = [
                each.inputs.get("rootBlockDevice", {}),
                *each.inputs.get("ebsBlockDevices", []),
            ]
        elif each.kind == "LaunchTemplate":
            mappings = each.inputs.get("blockDeviceMappings") or [{}]
            disks = [mapping.get("ebs", {}) for mapping in mappings]
        elif each.kind == "Bucket":
            disks = [{"encrypted": f"{each.name}-id" in buckets}]
        else:
            continue
        # A launch template takes words.
        if not all(str(disk.get("encrypted")).lower() == "true" for disk in disks):
            yield f"{each.name}: not encrypted"


def plain_transport(registrations: Sequence[Registration]) -> Iterator[str]:
    """Every bucket and file system refuses everybody who does not come over TLS."""
    guarded = {
        each.inputs.get("bucket") or each.inputs.get("fileSystemId")
        for each in registrations
        if each.kind in ("BucketPolicy", "FileSystemPolicy")
        and any(
            statement["Effect"] == "Deny"
            and statement["Principal"] in ("*", {"AWS": "*"})
            and statement["Action"] in ("*", "s3:*")
            and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            for statement in json.loads(each.inputs["policy"])["Statement"]
        )
    }
    for each in registrations:
        if each.kind in ("Bucket", "FileSystem") and f"{each.name}-id" not in guarded:
            yield f"{each.name}: may be read without TLS"
