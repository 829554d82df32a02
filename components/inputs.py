"""What the program of a stack knows before it composes: the keys of its file, the account, the preflight."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import boto3
import pulumi
from botocore.config import Config
from pulumi.runtime.config import get_config_secret_keys_env

from model.recorded import Recorded, arn_parts, moved, refusal, sign_in
from model.rehearsal import DONE
from model.settings.aws import FollowersOnAws, Settings
from model.settings.configuration import SECRET_ENV
from model.settings.read import given
from model.settings.sections import Release
from preflight import PreflightError
from preflight import run as run_preflight
from preflight.cost import reckoning
from preflight.cost_table import cost_table
from preflight.price_list import region_of
from preflight.situation import UNANSWERED, situation_of
from preflight.tables import as_text


def look_first(
    settings: FollowersOnAws, region: str, joined: Mapping[str, Any] | None, known: Recorded
) -> None:
    """Refuse another account and region than the cluster's, and make the preflight, unless the operator's command has
    done so. Raises :class:`pulumi.RunError` and :class:`PreflightError`."""
    if os.environ.get(DONE):
        return
    _require_account(known, region)
    _preflight_on_aws(settings, region, joined, known)  # knows a region that is none
    if reason := moved(known, region):
        raise pulumi.RunError(f"stacks/Pulumi.{pulumi.get_stack()}.yaml: {reason}")


def _preflight_on_aws(
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
        f"{pulumi.get_project()}/{pulumi.get_stack()}",
        client,
        release,
        lambda: known,
        choice=f" {pulumi.get_stack()}",
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


def _require_account(known: Recorded, region: str) -> None:
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
    env = f"{pulumi.get_project()}:{SECRET_ENV}"
    # Pulumi tells of a whole key that it is secret, and not of which variables.
    variables = given(plain, pulumi.get_project()).get(SECRET_ENV, {})
    if isinstance(variables, dict):
        keys[env] = {name: {"secure": ""} if env in secret else "" for name in variables}
    return {key: value for key, value in keys.items() if not key.startswith("sandbox:")}
