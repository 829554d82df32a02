"""What the state of a stack says of its cluster on AWS: read by the program and by the commands alike."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model.tags import ID_TAG

AWS_PROVIDER = "pulumi:providers:aws"
"""Pulumi's type of the provider by which a cluster on AWS is made."""

_ARN = re.compile(r"arn:(?P<partition>[\w-]+):[\w-]+:[\w-]*:(?P<account>\d{12})?:")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where a state says that its resources are; empty for a stack that was never deployed."""

    accounts: frozenset[str]
    """AWS accounts, twelve digits: of a sound state one."""

    partitions: frozenset[str]
    """``aws``, ``aws-cn``, ``aws-us-gov``; empty while nothing that has an ARN was made."""

    regions: frozenset[str] = frozenset()
    """Of what has an ARN; the provider's where nothing has, as a failed run changes that one first."""

    identity: str = ""
    """What tells the cluster from others of its name; empty in a state of an earlier version."""

    begun: bool = False
    """Whether anything of AWS was begun at all."""


def recorded(resources: Iterable[Mapping[str, Any]]) -> Recorded:
    """What a state says with its *resources*, each with ``type`` and ``outputs``.

    The provider has the account from the first moment, the ARNs have it in states of earlier versions too.
    """
    accounts, partitions, identity, begun = set[str](), set[str](), "", False
    regions, of_provider = set[str](), set[str]()
    for each in resources:
        outputs = each.get("outputs") or {}
        if each["type"] == AWS_PROVIDER:
            begun = True
            accounts |= set(json.loads(outputs.get("allowedAccountIds", "[]")))
            tags = json.loads(outputs.get("defaultTags", "{}")).get("tags", {})
            identity = tags.get(ID_TAG, identity)
            of_provider |= {outputs.get("region", "")} - {""}
        elif each["type"].startswith("aws:") and (parts := arn_parts(outputs.get("arn"))):
            partitions.add(parts[0])
            accounts |= {parts[1]} - {""}
            regions |= {outputs["arn"].split(":")[3]} - {""}
    return Recorded(
        accounts=frozenset(accounts),
        partitions=frozenset(partitions),
        regions=frozenset(regions or of_provider),
        identity=identity,
        begun=begun,
    )


def refusal(known: Recorded, caller: str) -> str | None:
    """Why nobody may work on these resources as *caller* (an ARN); None where they may, and where nothing is known.

    A refresh looks for everything in the caller's account, finds nothing, and forgets the cluster, what is protected
    too. A state with two accounts was mixed up before, and would lose what is in the other.
    """
    partition, account = arn_parts(caller) or ("", "")
    if not known.accounts <= {account}:
        there, here = in_words(known.accounts), in_words({account})
    elif not known.partitions <= {partition}:
        there, here = (f"the partition {_all(each)}" for each in (known.partitions, {partition}))
    else:
        return None
    return (
        f"the cluster is in {there}, and the credentials here are of {here}. Nothing of it would be found there, and "
        "it would be forgotten while its machines run on and cost money. Nothing was changed"
    )


def moved(known: Recorded, region: str) -> str | None:
    """Why nobody may deploy these resources in *region*; None where they are in it, and where nothing is known.

    A refresh would look for everything there, find nothing, and forget the cluster.
    """
    if not known.regions or region in known.regions:
        return None
    there = _all(known.regions)
    return (
        f"aws:region: got {region!r}, but this cluster is in {there!r}, and a cluster does not "
        f"move. Put {there!r} back, or copy the stack file under another name for another cluster"
    )


def sign_in(known: Recorded) -> str:
    """What to do about it."""
    return (
        f"sign in to {in_words(known.accounts)} by `aws sso login` or AWS_PROFILE; `aws sts get-caller-identity` shows "
        "where you are. For another cluster, copy the stack file under another name"
    )


def in_words(accounts: Collection[str]) -> str:
    """Accounts as a message has them."""
    return (
        f"AWS account {_all(accounts)}" if accounts else "an account that its state does not name"
    )


def _all(names: Collection[str]) -> str:
    return " and ".join(sorted(names))


def arn_parts(arn: object) -> tuple[str, str] | None:
    """Partition and account of an ARN, the account empty where it names none (S3); None for what is no ARN."""
    found = _ARN.match(arn) if isinstance(arn, str) else None
    return (found["partition"], found["account"] or "") if found else None
