"""Registers the recorded resources of a cluster one after the other, as a program without any structure would.

It uses the SDK's own classes, whose names and inputs come from the recording, and waits for the same outputs. What is
left out is what the benchmark measures: settings, components, look-ups, exports.
"""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_command as command
from pulumi._types import resource_pulumi_to_py_names


def main() -> None:
    recording = json.loads(Path(pulumi.Config().require("recording")).read_text())
    provider = aws.Provider(
        "aws",
        region=pulumi.Config("aws").require("region"),
        allowed_account_ids=recording["accounts"],
        max_retries=recording["max_retries"],
        default_tags=aws.ProviderDefaultTagsArgs(tags=recording["default_tags"]),
    )
    providers: dict[str, pulumi.ProviderResource] = {
        "aws": provider,
        "command": command.Provider("command"),
    }
    made: list[pulumi.CustomResource] = []
    for each in recording["resources"]:
        kind = sdk_class(each["type"])
        spelling = resource_pulumi_to_py_names(kind)
        given = {spelling[name]: value for name, value in inputs(each, made).items()}
        options = pulumi.ResourceOptions(
            provider=providers[each["type"].partition(":")[0]],
            depends_on=[made[index] for index in each["depends_on"]],
        )
        made.append(kind(each["name"], opts=options, **given))


def sdk_class(token: str) -> type[pulumi.CustomResource]:
    """``pulumi_aws.ec2.Vpc`` for ``aws:ec2/vpc:Vpc``."""
    package, module, kind = token.split(":")
    found: type[pulumi.CustomResource] = getattr(
        importlib.import_module(f"pulumi_{package}.{module.partition('/')[0]}"), kind
    )
    return found


def inputs(recorded: dict[str, Any], made: list[pulumi.CustomResource]) -> dict[str, Any]:
    """Inputs as recorded, in which the outputs of this run take the place of the recorded ones."""
    given = {
        **recorded["values"],
        **{name: pulumi.FileAsset(path) for name, path in recorded["files"].items()},
    }
    for name, references in recorded["references"].items():
        texts = [text for _, _, text in references]
        outputs = [output(made[index], property_name) for index, property_name, _ in references]
        given[name] = pulumi.Output.all(*outputs).apply(
            functools.partial(replaced, given[name], texts)
        )
    return given


def output(resource: pulumi.CustomResource, name: str) -> pulumi.Output[str]:
    """One output of a resource by its name in the state."""
    spelling = resource_pulumi_to_py_names(type(resource))
    found: pulumi.Output[str] = getattr(resource, spelling.get(name, name))
    return found


def replaced(value: Any, before: list[str], now: list[str]) -> Any:
    """*value* with the outputs of the recorded run replaced by those of this one."""
    text = json.dumps(value)
    for old, new in zip(before, now, strict=True):
        text = text.replace(old, new)
    return json.loads(text)


main()
