"""Logs, events and SSM documents."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ..aws import Aws, service_properties, tag_list
from ..table import ResourceType, created, deleted
from ..values import Properties, RefusalError


def _log_group(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    groups = aws.pages("logs.describe_log_groups", "logGroups", logGroupNamePrefix=identifier)
    for group in groups:
        if group["logGroupName"] == identifier:
            arn = group["arn"].removesuffix(":*")
            tags = aws.call("logs.list_tags_for_resource", resourceArn=arn)["tags"]
            return {
                **group,
                "name": identifier,
                "arn": arn,
                "retentionInDays": group.get("retentionInDays", 0),
                "tags": tag_list(tags),
            }
    return None


def _retention(aws: Aws, identifier: str, inputs: Properties) -> None:
    name = {"logGroupName": identifier}
    days = inputs["retentionInDays"]
    if days:
        aws.call("logs.put_retention_policy", retentionInDays=days, **name)
    else:
        aws.call("logs.delete_retention_policy", **name)


def _create_log_group(aws: Aws, inputs: Properties) -> str:
    aws.request("logs.create_log_group", inputs, {"name": "logGroupName"})
    return str(inputs["name"])


def _tag_log_group(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    arn = aws.arn("logs", f"log-group:{identifier}")
    if tags:
        aws.call("logs.tag_resource", resourceArn=arn, tags=dict(tags))
    if removed:
        aws.call("logs.untag_resource", resourceArn=arn, tagKeys=removed)


def _put_rule(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = service_properties(inputs, "description", "eventPattern", "state")
    aws.request("events.put_rule", wanted, Name=identifier)


def _create_rule(aws: Aws, inputs: Properties) -> str:
    _put_rule(aws, inputs["name"], inputs)
    return str(inputs["name"])


def _rule(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    rule = aws.call("events.describe_rule", Name=identifier)
    tags = aws.call("events.list_tags_for_resource", ResourceARN=rule["Arn"])["Tags"]
    return {**rule, "tags": tags}


def _tag_rule(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    arn = aws.arn("events", f"rule/{identifier}")
    if tags:
        aws.call("events.tag_resource", ResourceARN=arn, Tags=tag_list(tags))
    if removed:
        aws.call("events.untag_resource", ResourceARN=arn, TagKeys=removed)


def _put_target(aws: Aws, identifier: str, inputs: Properties) -> None:
    rule, _, target = identifier.partition("/")
    wanted = service_properties(inputs, "arn", "roleArn", "input")
    body = aws.arguments("events.put_targets", {"targets": [{**wanted, "id": target}]})
    transformer = inputs.get("inputTransformer")
    if transformer:
        body["Targets"][0]["InputTransformer"] = {
            "InputPathsMap": transformer.get("inputPaths", {}),
            "InputTemplate": transformer["inputTemplate"],
        }
    answer = aws.call("events.put_targets", Rule=rule, **body)
    for failure in answer["FailedEntries"]:
        # AWS answers 200 here, with the refusal inside.
        raise RefusalError(f"PutTargets: {failure['ErrorCode']}: {failure['ErrorMessage']}")


def _create_target(aws: Aws, inputs: Properties) -> str:
    identifier = f"{inputs['rule']}/{inputs.get('targetId') or secrets.token_hex(12)}"
    _put_target(aws, identifier, inputs)
    return identifier


def _target(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    rule, _, name = identifier.partition("/")
    for target in aws.call("events.list_targets_by_rule", Rule=rule)["Targets"]:
        if target["Id"] == name:
            transformer = target.get("InputTransformer")
            return {
                **target,
                "rule": rule,
                "targetId": name,
                "inputTransformer": transformer
                and {
                    "inputPaths": transformer.get("InputPathsMap"),
                    "inputTemplate": transformer.get("InputTemplate"),
                },
            }
    return None


def _delete_target(aws: Aws, identifier: str, inputs: Properties) -> None:
    rule, _, name = identifier.partition("/")
    aws.call("events.remove_targets", Rule=rule, Ids=[name])


def _document(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("ssm.describe_document", Name=identifier)["Document"]
    written = aws.call(
        "ssm.get_document",
        Name=identifier,
        DocumentVersion="$LATEST",
        DocumentFormat=found["DocumentFormat"],
    )
    tags = aws.call("ssm.list_tags_for_resource", ResourceType="Document", ResourceId=identifier)
    return {
        **found,
        "parameters": None,
        "content": written["Content"],
        "arn": aws.arn("ssm", f"document/{identifier}"),
        "tags": tags["TagList"],
    }


def _update_document(aws: Aws, identifier: str, inputs: Properties) -> None:
    wanted = service_properties(inputs, "content", "documentFormat")
    answer = aws.request("ssm.update_document", wanted, Name=identifier, DocumentVersion="$LATEST")
    version = answer["DocumentDescription"]["DocumentVersion"]
    aws.call("ssm.update_document_default_version", Name=identifier, DocumentVersion=version)


def _tag_document(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    subject = {"ResourceType": "Document", "ResourceId": identifier}
    if tags:
        aws.call("ssm.add_tags_to_resource", Tags=tag_list(tags), **subject)
    if removed:
        aws.call("ssm.remove_tags_from_resource", TagKeys=removed, **subject)


TYPES = {
    "aws:cloudwatch/logGroup:LogGroup": ResourceType(
        fixed="name kmsKeyId",
        updates={"retentionInDays": _retention},
        later="retentionInDays",
        defaults={"retentionInDays": 0},
        name="name",
        name_length=512,
        create=_create_log_group,
        read=_log_group,
        delete=deleted("logs.delete_log_group", "logGroupName"),
        tagger=_tag_log_group,
    ),
    "aws:cloudwatch/eventRule:EventRule": ResourceType(
        fixed="name",
        updates={"description eventPattern state": _put_rule},
        defaults={"state": "ENABLED"},
        documents="eventPattern",
        name="name",
        name_length=64,
        create=_create_rule,
        read=_rule,
        delete=deleted("events.delete_rule", "Name"),
        tagger=_tag_rule,
    ),
    "aws:cloudwatch/eventTarget:EventTarget": ResourceType(
        fixed="rule targetId",
        updates={"arn roleArn input inputTransformer": _put_target},
        documents="input",
        nested={"inputTransformer": "inputPaths inputTemplate"},
        create=_create_target,
        read=_target,
        delete=_delete_target,
    ),
    "aws:ssm/document:Document": ResourceType(
        fixed="name documentType",
        updates={"content documentFormat": _update_document},
        defaults={"documentFormat": "JSON"},
        documents="content",
        recomputed="latestVersion documentVersion defaultVersion hash",
        name="name",
        name_length=128,
        create=created("ssm.create_document", "DocumentDescription.Name"),
        read=_document,
        delete=deleted("ssm.delete_document", "Name"),
        tagger=_tag_document,
    ),
}
