"""The program of one stack: read its file, check, compose the cluster, export what an operator needs next."""

import atexit
import gc

# A run needs what it makes until its end, most of it made by imports: collecting it took a third of the time.
gc.set_threshold(100_000)
atexit.register(gc.freeze)

import os
import signal
from secrets import token_hex

import pulumi
import pulumi_command as command

from components.aws.look_ups import failed_look_up
from components.aws.provider import aws_provider
from components.aws.recorded_state import read_recorded
from components.cluster import Cluster, ClusterArgs
from components.inputs import account_of, config_keys, look_first
from components.leader_stack import LeaderStackError, leader_stack_of
from components.sites import machines_on_aws, machines_on_hosts
from model.problems import SettingsError
from model.rehearsal import as_told
from model.settings.hosts import FollowersOnHosts
from model.settings.read import given
from model.settings.stack_keys import DELETE_DATA, checked
from model.tags import cluster_tags
from operate.terminal.messages import for_stack
from preflight import PreflightError

# Pulumi interrupts the program when a resource has failed and said why; a traceback would hide that.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

PROJECT, STACK = pulumi.get_project(), pulumi.get_stack()


def main() -> None:
    raw = given(pulumi.runtime.get_config_env(), PROJECT)
    delete_data = raw.pop(DELETE_DATA, "") == STACK
    settings = as_told(checked(config_keys(), raw), os.environ)
    leader_stack = leader_stack_of(settings)
    joined = leader_stack.document if leader_stack else None
    providers: list[pulumi.ProviderResource] = [command.Provider("command")]
    if isinstance(settings, FollowersOnHosts):
        machines = machines_on_hosts(settings, joined, PROJECT, STACK)
    else:
        region = pulumi.Config("aws").require("region")
        known = read_recorded()
        look_first(settings, region, joined, known)
        identity = known.identity or token_hex(6)  # known at preview, and then written down
        tags = cluster_tags(PROJECT, STACK, identity, settings.tags)
        # The present credentials count only where nothing is written down.
        accounts = known.accounts or {account_of(region, joined)}
        providers.append(aws_provider(region, accounts, tags, delete_data=delete_data))
        machines = machines_on_aws(
            settings, joined, PROJECT, STACK, region, identity, delete_data=delete_data
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
except (SettingsError, PreflightError, LeaderStackError) as error:
    # Pulumi prints a RunError as it is, and anything else with a traceback.
    raise pulumi.RunError(
        f"stacks/Pulumi.{STACK}.yaml: {for_stack(str(error), f' {STACK}')}"
    ) from None
except Exception as error:
    sentence = failed_look_up(error)
    if sentence is None:
        raise
    raise pulumi.RunError(sentence) from None
