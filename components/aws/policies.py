"""Policy documents: the envelope that every one of them has, and the one that lets a service take a role."""

import json
from collections.abc import Mapping
from typing import Any

VERSION = "2012-10-17"
"""The current version of the policy language (AWS: IAM JSON policy elements)."""


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """A policy document of these statements; outputs in them are the caller's to resolve."""
    return {"Version": VERSION, "Statement": list(statements)}


def assumable_by(*services: str) -> str:
    """The trust policy of a role that AWS services take, each named without ``.amazonaws.com``."""
    return json.dumps(
        policy(
            {
                "Effect": "Allow",
                "Principal": {"Service": [f"{service}.amazonaws.com" for service in services]},
                "Action": "sts:AssumeRole",
            }
        )
    )
