"""The stack file's secret variables on AWS: a secret of their own, which the program writes and nodes only read."""

import json
from collections.abc import Mapping

import pulumi
from pulumi_aws import secretsmanager
from pydantic import SecretStr

from components.aws.region import Region
from components.aws.secret_policies import followers_secret_policy
from components.aws.site import SecretEnv
from model.settings.configuration import SECRET_ENV_NAME
from model.tags import named


def secret_env(
    name: str,
    variables: Mapping[str, SecretStr],
    region: Region,
    role_path: str,
    key: str | None,
    opts: pulumi.ResourceOptions,
) -> SecretEnv | None:
    """Make the secret and fill it; None without *variables*. A change of them is another version, in place.

    It is not kept: the stack file has it all. *role_path* begins the path of the roles that may never write it, *key*
    is the KMS key, or None for AWS's own.
    """
    if not variables:
        return None
    # In the state it is encrypted with the stack's key, and shown nowhere.
    text = pulumi.Output.secret(
        json.dumps({each: variables[each].get_secret_value() for each in sorted(variables)})
    )
    secret = secretsmanager.Secret(
        f"{name}-{SECRET_ENV_NAME}",
        description="Secret variables of a Graphistry cluster's stack file, written by its deployment",
        recovery_window_in_days=0,
        kms_key_id=key,
        tags=named(f"{name}-{SECRET_ENV_NAME}"),
        opts=opts,
    )
    roles = f"arn:{region.partition}:iam::{region.account_id}:role{role_path}"
    closed = secretsmanager.SecretPolicy(
        f"{name}-{SECRET_ENV_NAME}-closed",
        secret_arn=secret.arn,
        policy=json.dumps(followers_secret_policy(roles)),
        opts=opts,
    )
    written = secretsmanager.SecretVersion(
        f"{name}-{SECRET_ENV_NAME}",
        secret_id=secret.arn,
        secret_string=text,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[closed])),
    )
    return SecretEnv(arn=secret.arn, version=pulumi.Output.unsecret(written.version_id))
