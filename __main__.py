"""The program of one stack: read its file, check, compose the cluster, export what an operator needs next."""

import json
import os
import signal

import pulumi
import pulumi_aws as aws
import pulumi_command as command

from components.cluster import Cluster, ClusterArgs
from components.exports import cluster_exports
from model.settings import SettingsError, parse
from model.tags import cluster_tags
from operate.account import AccountError, check_account

# Pulumi interrupts the program when a resource has failed and said why; a traceback would hide that.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

PROJECT = pulumi.get_project()
STACK = pulumi.get_stack()


def stack_file() -> dict[str, object]:
    """Every key of the stack under this project's name, misspelt ones too, so that they are refused."""
    found: dict[str, object] = {}
    for key, text in pulumi.runtime.get_config_env().items():
        namespace, _, name = key.partition(":")
        if namespace == PROJECT:
            try:
                found[name] = json.loads(text)
            except ValueError:
                found[name] = text
    return found


def main() -> None:
    raw = stack_file()
    delete_data = raw.pop("deleteData", "") == STACK
    region = pulumi.Config("aws").require("region")
    settings = parse(raw)
    check_account(region)
    provider = aws.Provider(
        "aws",
        region=region,
        # Launching the leader without capacity is retried inside the provider for 50 minutes at its default of 25
        # (terraform-provider-aws#43193, #49863); a refusal should be told while somebody is looking.
        max_retries=5,
        default_tags=aws.ProviderDefaultTagsArgs(tags=cluster_tags(PROJECT, STACK, settings.tags)),
        # Another region would replace the provider and orphan the cluster; Pulumi replaces nothing protected.
        opts=pulumi.ResourceOptions(protect=not delete_data),
    )
    cluster = Cluster(
        f"graphistry-{STACK}",
        ClusterArgs(
            settings=settings, project=PROJECT, stack=STACK, region=region, delete_data=delete_data
        ),
        pulumi.ResourceOptions(providers=[provider, command.Provider("command")]),
    )
    for name, value in cluster_exports(cluster, settings, region).items():
        pulumi.export(name, value)


try:
    main()
except (SettingsError, AccountError) as error:
    # Pulumi prints a RunError as it is, and anything else with a traceback.
    raise pulumi.RunError(f"stacks/Pulumi.{STACK}.yaml: {error}") from None
