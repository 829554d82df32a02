"""What the owner of a bucket or a key adds to its policy, so that the nodes of a cluster may read an archive there."""

from __future__ import annotations

import json
from collections.abc import Mapping

import boto3

from model.settings.aws import JoinedSettings
from preflight.situation import Situation

SID = "GraphistryClusterNodes"


def bucket_policy(situation: Situation, source: str, account: str) -> str:
    """The statement for the policy of a bucket of another account: the nodes' roles may read the archive."""
    partition = _partition(situation)
    return _statement(
        {
            "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
            "Action": "s3:GetObject",
            "Resource": f"arn:{partition}:s3:::{source.removeprefix('s3://')}",
            "Condition": {"ArnLike": _roles(situation, account)},
        }
    )


def key_policy(situation: Situation, account: str, region: str) -> str:
    """The statement for the policy of a KMS key of this account: the nodes' roles may decrypt, by S3 alone.

    For everybody of the account and by S3, as in the policy of S3's own key; a statement for ``root`` would only
    delegate to the roles' policies, which name no key.
    """
    via = f"s3.{region}.{_suffix(situation)}"
    return _statement(
        {
            "Principal": {"AWS": "*"},
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"kms:CallerAccount": account, "kms:ViaService": via},
                "ArnLike": _roles(situation, account),
            },
        }
    )


def _roles(situation: Situation, account: str) -> dict[str, str]:
    """The condition that holds for every node's role: those of joined stacks are below their leader's path."""
    settings = situation.settings
    cluster = situation.cluster
    if isinstance(settings, JoinedSettings):
        cluster = settings.leader_stack.partition("/")[2]
    return {
        "aws:PrincipalArn": f"arn:{_partition(situation)}:iam::{account}:role/{cluster}/*",
    }


def _statement(content: Mapping[str, object]) -> str:
    return json.dumps({"Sid": SID, "Effect": "Allow", **content}, indent=2)


def _partition(situation: Situation) -> str:
    return str(boto3.session.Session().get_partition_for_region(situation.region))


def _suffix(situation: Situation) -> str:
    return "amazonaws.com.cn" if _partition(situation) == "aws-cn" else "amazonaws.com"
