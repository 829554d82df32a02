"""The check ``cluster``: whether the account holds another cluster of this name, which another state describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model.problems import Problem
from model.tags import CLUSTER_TAG, GIVEN_UP_TAG, ID_TAG
from preflight.network_facts import vpcs
from preflight.parts import together
from preflight.situation import Finding, Situation, file_systems


@dataclass(frozen=True, kw_only=True)
class Held:
    """Something in the account that carries the name of the cluster."""

    what: str
    """Its kind and id."""
    tags: Mapping[str, str]
    made: datetime | None = None
    maker: str = ""
    """ARN of who made it, where AWS says so."""


def cluster(situation: Situation) -> tuple[Finding, ...]:
    """A problem where something has this cluster's name and is of another one, in six calls of AWS.

    Nothing would be lost, as recovery asks for the id too; but two clusters of one name pay for each other's budget,
    show each other's machines and admit each other's roles to the shared folder.
    """
    known, found = situation.known(), list[Held]()

    def gather(kind: Any) -> Any:
        def part(asked: Situation) -> tuple[Finding, ...]:
            found.extend(
                each
                for each in kind(asked)
                if each.tags.get(CLUSTER_TAG) == asked.cluster
                and GIVEN_UP_TAG not in each.tags
                # What an earlier version made has no id, and is ours if anything is.
                and (
                    each.tags[ID_TAG] != known.identity if ID_TAG in each.tags else not known.begun
                )
            )
            return ()

        return part

    unanswered = together(situation, [gather(kind) for kind in KINDS])
    return (_problem(situation, found), *unanswered) if found else unanswered


def _problem(situation: Situation, found: list[Held]) -> Problem:
    dated = sorted((each.made, each.what) for each in found if each.made)
    makers = sorted({each.maker for each in found if each.maker})
    when = f", since {dated[0][0]:%Y-%m-%d %H:%M} UTC" if dated else ""
    who = f", made by {' and '.join(makers)}" if makers else ""
    shown = sorted(each.what for each in found)
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    oldest = dated[0][1].rpartition(" ")[2] if dated else shown[0].rpartition(" ")[2]
    return Problem(
        "the stack's name",
        f"{situation.stack}, and the account holds a cluster of this name that is not in this stack's state: "
        f"{', '.join(shown[:4])}{more}{when}{who}",
        "a name that no other cluster of this account and region has",
        "if it is a colleague's, copy the stack file under another name; if it is yours, use the state that it was "
        "deployed with (`pulumi whoami --verbose` shows where this one is). Who made it: aws cloudtrail lookup-events "
        f"--lookup-attributes AttributeKey=ResourceName,AttributeValue={oldest}",
    )


def _networks(situation: Situation) -> Iterator[Held]:
    for each in vpcs(situation).values():
        yield Held(what=f"VPC {each['VpcId']}", tags=_tags(each))


def _volumes(situation: Situation) -> Iterator[Held]:
    for each in _of_ec2(situation, "describe_volumes", "Volumes"):
        yield Held(what=f"volume {each['VolumeId']}", tags=_tags(each), made=each.get("CreateTime"))


def _machines(situation: Situation) -> Iterator[Held]:
    for each in situation.machines():
        yield Held(what=f"machine {each.instance_id}", tags=each.tags, made=each.launched)


def _templates(situation: Situation) -> Iterator[Held]:
    for each in _of_ec2(situation, "describe_launch_templates", "LaunchTemplates"):
        yield Held(
            what=f"launch template {each['LaunchTemplateId']}",
            tags=_tags(each),
            made=each["CreateTime"],
            maker=each.get("CreatedBy", ""),
        )


def _of_ec2(situation: Situation, call: str, listed: str) -> Iterator[dict[str, Any]]:
    named = {"Name": f"tag:{CLUSTER_TAG}", "Values": [situation.cluster]}
    for page in situation.client("ec2").get_paginator(call).paginate(Filters=[named]):
        yield from page[listed]


def _file_systems(situation: Situation) -> Iterator[Held]:
    for each in file_systems(situation):
        yield Held(
            what=f"file system {each['FileSystemId']}",
            tags=_tags(each),
            made=each.get("CreationTime"),
        )


def _secrets(situation: Situation) -> Iterator[Held]:
    named = [{"Key": "tag-value", "Values": [situation.cluster]}]
    pages = situation.client("secretsmanager").get_paginator("list_secrets").paginate(Filters=named)
    for page in pages:
        for each in page["SecretList"]:
            yield Held(
                what=f"secret {each['Name']}", tags=_tags(each), made=each.get("CreatedDate")
            )


KINDS = (_networks, _volumes, _machines, _templates, _file_systems, _secrets)


def _tags(described: Mapping[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in described.get("Tags", [])}
