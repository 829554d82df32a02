"""A log of what is typed and shown in shells on the nodes: a log group, and a document of Session Manager for it.

The account's own document, SSM-SessionManagerRunShell, is left alone: it is of all machines of the account.
"""

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, ssm

from model.tags import named

RETENTION_DAYS = 365
"""How long sessions can be read; one of the numbers that CloudWatch knows."""


@dataclass(frozen=True, kw_only=True)
class SessionLogs:
    """Where sessions are logged, and by what."""

    log_group_arn: pulumi.Output[str]
    """Log group to which the nodes write."""

    document: pulumi.Output[str]
    """Document that a session is started with to be logged."""


def session_logs(
    name: str, key: str | None, opts: pulumi.ResourceOptions, *, delete_data: bool
) -> SessionLogs:
    """Make the log group, encrypted by *key* or by AWS's own, and the document.

    The group stays when another key takes its place, when nothing is logged any more, and after the cluster's end: what
    somebody did outlives the machines it was done on. Under *delete_data* a plain ``pulumi destroy`` deletes it.
    """
    group = cloudwatch.LogGroup(
        f"{name}-sessions",
        retention_in_days=RETENTION_DAYS,
        kms_key_id=key,
        tags=named(f"{name}-sessions"),
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(retain_on_delete=not delete_data)
        ),
    )
    document = ssm.Document(
        f"{name}-sessions",
        document_type="Session",
        document_format="JSON",
        content=group.name.apply(lambda known: json.dumps(_document(known, key))),
        tags=named(f"{name}-sessions"),
        opts=opts,
    )
    return SessionLogs(log_group_arn=group.arn, document=document.name)


def _document(group: str, key: str | None) -> dict[str, object]:
    return {
        "schemaVersion": "1.0",
        "description": "A shell on a node of a Graphistry cluster, logged",
        "sessionType": "Standard_Stream",
        "inputs": {
            "cloudWatchLogGroupName": group,
            # Refuses a session whose log would not be encrypted by a key of the customer's.
            "cloudWatchEncryptionEnabled": key is not None,
            "cloudWatchStreamingEnabled": True,
            "s3BucketName": "",
            "s3KeyPrefix": "",
            "s3EncryptionEnabled": False,
            "runAsEnabled": False,
        },
    }
