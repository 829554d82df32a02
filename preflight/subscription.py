"""Part of the check ``image``: whether the account has subscribed to an image of the AWS Marketplace."""

from __future__ import annotations

import re
from collections.abc import Iterator

from botocore.exceptions import ClientError

from model.plan import PlannedNode
from model.problems import Problem
from preflight.parts import unanswered
from preflight.situation import Finding, Situation, Unanswered, named_subnets

SUBSCRIBED = "DryRunOperation"
NOT_SUBSCRIBED = "OptInRequired"

_LINK = re.compile(r"https?://\S+")


def subscription(situation: Situation, path: str, image: str) -> Iterator[Finding]:
    """Ask EC2 whether it would launch the image, without launching it: one call that changes and costs nothing.

    It needs the permission ec2:RunInstances, which whoever deploys has anyway. *path* is the key that names the image.
    """
    node: PlannedNode = situation.nodes[0]
    subnets = list(named_subnets(situation))
    # Without a subnet EC2 takes one of the default VPC, which many accounts have deleted.
    where = {"SubnetId": subnets[0]} if subnets else {}
    try:
        situation.client("ec2").run_instances(
            ImageId=image,
            InstanceType=node.instance_types[0],
            MinCount=1,
            MaxCount=1,
            DryRun=True,
            **where,
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        message = error.response["Error"].get("Message", "")
        if code == NOT_SUBSCRIBED:
            link = _LINK.search(message)
            page = link.group().rstrip(".,") if link else "its page in the AWS Marketplace"
            yield Problem(
                path,
                f"{image}, an image of the AWS Marketplace that this account has not subscribed to",
                "an image with a subscription: AWS launches no other",
                f'"Continue to Subscribe" and accept the terms at {page}; it takes effect within minutes',
            )
        elif code != SUBSCRIBED:
            yield Unanswered(
                f"whether the account has subscribed to {image} is not known: {unanswered(error)}"
            )
