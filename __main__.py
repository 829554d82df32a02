"""The program of one stack: read its file, check, compose the cluster, export what an operator needs next."""

import atexit
import gc

# What a run makes, it needs until its end: Python need not look for the dead among it so often, nor take all apart
# then. Both took a third of the program's processor time. Before the imports, which make most of it.
gc.set_threshold(100_000)
atexit.register(gc.freeze)

import os
import signal
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

import boto3
import pulumi
import pulumi_command as command
from botocore.config import Config
from pulumi.runtime.config import get_config_secret_keys_env

from components.aws.look_ups import failed_look_up
from components.aws.provider import aws_provider
from components.aws.recorded_state import read_recorded
from components.cluster import Cluster, ClusterArgs
from components.leader_stack import LeaderStackError, read_leader_stack
from components.sites import machines_on_aws, machines_on_hosts
from model.configuration import SECRET_ENV
from model.hosts import FollowersOnHosts, JoinedHostsSettings
from model.recorded import Recorded, arn_parts, moved, refusal, sign_in
from model.sections import Release
from model.settings import (
    FollowersOnAws,
    JoinedSettings,
    Settings,
    SettingsError,
    given,
)
from model.stack_keys import DELETE_DATA, checked
from model.tags import cluster_tags
from operate.aws_errors import UNANSWERED
from operate.messages import for_stack
from operate.preflight import PreflightError
from operate.preflight import run as run_preflight
from operate.preflight.cost import reckoning
from operate.preflight.cost_table import cost_table
from operate.preflight.situation import situation_of
from operate.price_list import region_of
from operate.tables import as_text
from operate.told_release import DONE, as_told

# Pulumi interrupts the program when a resource has failed and said why; a traceback would hide that.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

PROJECT = pulumi.get_project()
STACK = pulumi.get_stack()


def preflight_on_aws(
    settings: FollowersOnAws, region: str, joined: Mapping[str, Any] | None, known: Recorded
) -> None:
    """Make the preflight, which the operator's commands have made already. Raises :class:`PreflightError`."""

    def client(service: str, config: Config) -> Any:
        return boto3.client(service, region_name=region_of(service, region), config=config)

    release = (
        settings.release
        if isinstance(settings, Settings)
        else Release.model_validate(joined["release"] if joined else None)
    )
    situation = situation_of(
        settings,
        region,
        f"{PROJECT}/{STACK}",
        client,
        release,
        lambda: known,
        choice="" if STACK == "sandbox" else f" STACK={STACK}",
    )
    report = run_preflight(situation, settings.preflight.skip)
    if "credentials" not in report.checks("failed"):
        pulumi.log.info(as_text(cost_table(reckoning(situation))))
    pulumi.log.info(f"preflight passed: {', '.join(report.checks('passed'))}")
    for each in report.outcomes:
        if each.unanswered:
            pulumi.log.warn(f"preflight: {each.check} could not run: {each.unanswered}")
        if each.remark:
            pulumi.log.info(f"preflight: {each.check}: {each.remark}")
        if each.document:
            pulumi.log.info(each.document)
    if report.problems:
        raise PreflightError(report)


def require_account(known: Recorded, region: str) -> None:
    """Raise :class:`pulumi.RunError` for credentials of another account than the cluster's, which the operator's
    commands have refused already. What AWS does not answer, the preflight tells."""
    try:
        caller = boto3.client("sts", region_name=region).get_caller_identity()["Arn"]
    except UNANSWERED:
        return
    if reason := refusal(known, caller):
        raise pulumi.RunError(f"{reason}\n  hint: {sign_in(known)}")


def account_of(region: str, joined: Mapping[str, Any] | None) -> str:
    """The account that a new cluster is made in: its leader's, or that of whoever deploys."""
    of_leader = arn_parts(joined["secretArn"]) if joined else None
    if of_leader:
        return of_leader[1]
    return str(boto3.client("sts", region_name=region).get_caller_identity()["Account"])


def config_keys() -> dict[str, object]:
    """The keys of the stack file, secrets as it has them; without those that the sandbox adds for itself."""
    secret, plain = set(get_config_secret_keys_env()), pulumi.runtime.get_config_env()
    keys = {key: {"secure": ""} if key in secret else value for key, value in plain.items()}
    env = f"{PROJECT}:{SECRET_ENV}"
    # Pulumi tells of a whole key that it is secret, and not of which variables.
    variables = given(plain, PROJECT).get(SECRET_ENV, {})
    if isinstance(variables, dict):
        keys[env] = {name: {"secure": ""} if env in secret else "" for name in variables}
    return {key: value for key, value in keys.items() if not key.startswith("sandbox:")}


def main() -> None:
    raw = given(pulumi.runtime.get_config_env(), PROJECT)
    delete_data = raw.pop(DELETE_DATA, "") == STACK
    settings = as_told(checked(config_keys(), raw), os.environ)
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
        known = read_recorded()
        if not os.environ.get(DONE):
            require_account(known, region)
            preflight_on_aws(settings, region, joined, known)  # knows a region that is none
            if reason := moved(known, region):
                raise pulumi.RunError(f"stacks/Pulumi.{STACK}.yaml: {reason}")
        # Known at preview; until one is written down, every run has its own.
        identity = known.identity or token_hex(6)
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
        f"stacks/Pulumi.{STACK}.yaml: {for_stack(str(error), f' STACK={STACK}')}"
    ) from None
except Exception as error:
    sentence = failed_look_up(error)
    if sentence is None:
        raise
    raise pulumi.RunError(sentence) from None
