"""The program of one stack: read its file, check, compose the cluster, export what an operator needs next."""

import json
import os
import signal

import pulumi
import pulumi_command as command

from components.aws.provider import aws_provider
from components.cluster import Cluster, ClusterArgs
from components.leader_stack import LeaderStackError, read_leader_stack
from components.sites import machines_on_aws, machines_on_hosts
from model.hosts import FollowersOnHosts, JoinedHostsSettings
from model.settings import JoinedSettings, SettingsError, keys_of_any_site, parse
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
    # Pulumi.yaml's defaults are of both sites, and what is empty says nothing.
    return {
        name: value
        for name, value in found.items()
        if value not in ("", {}) or name not in keys_of_any_site()
    }


def main() -> None:
    raw = stack_file()
    delete_data = raw.pop("deleteData", "") == STACK
    settings = parse(raw)
    leader_stack = (
        read_leader_stack(settings.leader_stack, settings.site)
        if isinstance(settings, JoinedSettings | JoinedHostsSettings)
        else None
    )
    joined = leader_stack.document if leader_stack else None
    providers: list[pulumi.ProviderResource] = [command.Provider("command")]
    if isinstance(settings, FollowersOnHosts):
        machines = machines_on_hosts(settings, joined, PROJECT, STACK)
    else:
        region = pulumi.Config("aws").require("region")
        check_account(region)
        tags = cluster_tags(PROJECT, STACK, settings.tags)
        providers.append(aws_provider(region, tags, delete_data=delete_data))
        machines = machines_on_aws(
            settings, joined, PROJECT, STACK, region, delete_data=delete_data
        )
    cluster = Cluster(
        f"graphistry-{STACK}",
        ClusterArgs(settings=settings, machines=machines, leader_stack=leader_stack),
        pulumi.ResourceOptions(providers=providers),
    )
    for name, value in cluster.exports().items():
        pulumi.export(name, value)


try:
    main()
except (SettingsError, AccountError, LeaderStackError) as error:
    # Pulumi prints a RunError as it is, and anything else with a traceback.
    raise pulumi.RunError(f"stacks/Pulumi.{STACK}.yaml: {error}") from None
