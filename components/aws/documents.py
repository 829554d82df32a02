"""The bucket by which the program and the machines talk: specifications in, reports out, the agent beside.

Each node has the prefix ``nodes/<node>/``; its role reaches that prefix and the agent's archive only.
"""

import hashlib
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from components.agent_archive import build_archive
from components.aws.policies import policy
from components.aws.protection import kept
from model.tags import named

OLD_VERSION_DAYS = 30
"""How long a replaced specification or report can still be read. A node that reports every minute fills 0.2 GB so."""


@dataclass(frozen=True, kw_only=True)
class AgentArchive:
    """The node agent as machines fetch it: addressed, and checked, by its hash."""

    key: pulumi.Output[str]
    """Object key in the bucket. Known once the archive is there to be fetched."""

    sha256: str
    """Hash of the archive, 64 hexadecimal digits."""


@dataclass(frozen=True, kw_only=True)
class DocumentsArgs:
    """Inputs of :class:`Documents`."""

    key: str | None
    """KMS key, or None for S3's own. A change holds for what is written later."""

    delete_data: bool
    """Lifts the protection, and lets the bucket be deleted with what is in it."""


class Documents(pulumi.ComponentResource):
    """A private, versioned, encrypted bucket that speaks TLS only, with the agent's archive in it.

    Creates: bucket, versioning, encryption, public access block, ownership controls, policy and life-cycle rules
    (all kept), and the archive as an object.
    """

    bucket: pulumi.Output[str]
    """Name of the bucket."""

    bucket_arn: pulumi.Output[str]
    """ARN of the bucket."""

    agent: AgentArchive
    """The archive that specifications name."""

    def __init__(
        self, name: str, args: DocumentsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:Documents", name, {}, opts)
        # The bucket's guards are kept with it: data that outlives the machines stays as private as it was.
        keep = kept(self, delete_data=args.delete_data)
        bucket = s3.Bucket(name, force_destroy=args.delete_data, tags=named(name), opts=keep)

        def after(last: pulumi.Resource) -> pulumi.ResourceOptions:
            """One after the other: S3 refuses two changes of one bucket at a time (OperationAborted, HTTP 409)."""
            return pulumi.ResourceOptions.merge(keep, pulumi.ResourceOptions(depends_on=[last]))

        versioning = s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.id,
            versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(
                status="Enabled"
            ),
            opts=keep,
        )
        encryption = s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.id,
            rules=[
                s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="aws:kms" if args.key else "AES256",
                        kms_master_key_id=args.key,
                    ),
                    # One call of KMS for many objects, not one for each report of each node.
                    bucket_key_enabled=True if args.key else None,
                )
            ],
            opts=after(versioning),
        )
        private = s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=after(encryption),
        )
        ownership = s3.BucketOwnershipControls(
            f"{name}-ownership",
            bucket=bucket.id,
            rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=after(private),
        )
        tls_only = s3.BucketPolicy(
            f"{name}-tls-only",
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(
                policy(
                    {
                        "Sid": "OnlyOverTls",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                )
            ),
            opts=after(ownership),
        )
        s3.BucketLifecycleConfiguration(
            f"{name}-life-cycle",
            bucket=bucket.id,
            rules=[
                s3.BucketLifecycleConfigurationRuleArgs(
                    id="old-versions",
                    status="Enabled",
                    filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="nodes/"),
                    noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=OLD_VERSION_DAYS
                    ),
                ),
                s3.BucketLifecycleConfigurationRuleArgs(
                    id="interrupted-uploads",
                    status="Enabled",
                    filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                        days_after_initiation=7
                    ),
                ),
            ],
            opts=after(tls_only),
        )
        archive = build_archive()
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        stored = s3.BucketObjectv2(
            f"{name}-agent",
            bucket=bucket.id,
            key=f"agent/{sha256}.pyz",
            source=pulumi.FileAsset(str(archive)),
            content_type="application/zip",
            # A node that boots during an update still finds the archive its specification names.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=not args.delete_data),
        )
        self.agent = AgentArchive(key=stored.key, sha256=sha256)
        self.bucket = bucket.id
        self.bucket_arn = bucket.arn
        self.register_outputs({"bucket": self.bucket})
