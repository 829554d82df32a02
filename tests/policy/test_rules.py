"""The project's own rules: every stack file keeps each, and each is broken by what it forbids."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence

import pytest

from model.tags import CLUSTER_TAG
from tests.components.test_contracts import STACKS
from tests.harness import SECRET_SIGNATURE, Registration
from tests.policy.changes import (
    MISSING,
    Change,
    inputs,
    nested,
    options,
    registrations,
    statement,
    told,
)
from tests.policy.encryption import plain_transport, unencrypted_at_rest
from tests.policy.exposure import (
    hosts_open_to_others,
    old_metadata_service,
    open_shell_and_data_ports,
    public_buckets,
    reachable_machines,
    wide_open,
)
from tests.policy.ownership import DATA, GUARDS, unprotected_data, without_cluster_tag
from tests.policy.plain_secrets import secrets_in_plain
from tests.policy.rights import ALLOWANCES, allowance, broad_rights, foreign_principals, wildcards

Rule = Callable[[Sequence[Registration]], Iterator[str]]
INGRESS, EGRESS = "SecurityGroupIngressRule", "SecurityGroupEgressRule"
KEY = "AKIA" + "A" * 16


MISTAKES: list[tuple[Rule, str, str, Change]] = [
    (wide_open, INGRESS, "prod-leader-http-from", inputs(cidrIpv4="0.0.0.0/0")),
    (wide_open, INGRESS, "prod-leader-http-from", inputs(cidrIpv4="128.0.0.0/1")),
    (wide_open, INGRESS, "prod-leader-http-from", inputs(cidrIpv4=None, cidrIpv6="::/0")),
    (wide_open, INGRESS, "prod-leader-postgres", inputs(toPort=5433)),
    (wide_open, INGRESS, "prod-leader-postgres", inputs(ipProtocol="-1", fromPort=None)),
    (wide_open, EGRESS, "prod-leader-to-http", inputs(fromPort=25, toPort=25)),
    (wide_open, "SecurityGroup", "prod-leader", inputs(ingress=[{"fromPort": 80}])),
    (wide_open, "DefaultSecurityGroup", "prod", inputs(egress=[{"fromPort": 80}])),
    (open_shell_and_data_ports, INGRESS, "prod-leader-http-from", inputs(fromPort=22, toPort=22)),
    (open_shell_and_data_ports, INGRESS, "prod-leader-http-from", inputs(fromPort=None)),
    *(
        (
            open_shell_and_data_ports,
            INGRESS,
            f"prod-{service}",
            inputs(referencedSecurityGroupId=None, cidrIpv4="10.40.0.0/16"),
        )
        for service in ("leader-postgres", "leader-redis", "shared-folder-from-leader")
    ),
    (reachable_machines, "Instance", "prod-leader", inputs(keyName="operator")),
    (reachable_machines, "Instance", "prod-leader", inputs(associatePublicIpAddress=True)),
    (
        reachable_machines,
        "LaunchTemplate",
        "prod-ingest",
        nested("networkInterfaces", associatePublicIpAddress="true"),
    ),
    (
        reachable_machines,
        "NetworkInterface",
        "prod-leader",
        inputs(subnetId="graphistry-prod-network-public-us-east-1a-id"),
    ),
    (
        reachable_machines,
        "Group",
        "prod-ingest",
        inputs(vpcZoneIdentifiers=["graphistry-prod-network-public-us-east-1a-id"]),
    ),
    (reachable_machines, "Subnet", "prod", inputs(mapPublicIpOnLaunch=True)),
    (old_metadata_service, "Instance", "prod", nested("metadataOptions", httpTokens="optional")),
    (old_metadata_service, "LaunchTemplate", "prod-ingest", inputs(metadataOptions=None)),
    (
        old_metadata_service,
        "LaunchTemplate",
        "prod-ingest",
        nested("metadataOptions", httpPutResponseHopLimit=3),
    ),
    (public_buckets, "BucketPublicAccessBlock", "prod", inputs(blockPublicPolicy=False)),
    (public_buckets, "BucketPublicAccessBlock", "prod", MISSING),
    (hosts_open_to_others, "Command", "onprem-leader-spec", told(firewall=None)),
    (
        hosts_open_to_others,
        "Command",
        "onprem-leader-spec",
        told(firewall={"allow": ["0.0.0.0/0"]}),
    ),
    (hosts_open_to_others, "Command", "onprem-leader-spec", told(sharedFolder={"clients": ["*"]})),
    (unencrypted_at_rest, "Volume", "prod-leader-data", inputs(encrypted=None)),
    (unencrypted_at_rest, "FileSystem", "prod", inputs(encrypted=False)),
    (unencrypted_at_rest, "Instance", "prod", nested("rootBlockDevice", encrypted=False)),
    (unencrypted_at_rest, "Instance", "prod", inputs(ebsBlockDevices=[{"volumeSize": 1}])),
    (
        unencrypted_at_rest,
        "LaunchTemplate",
        "prod-ingest",
        nested("blockDeviceMappings", ebs={"encrypted": "false"}),
    ),
    (unencrypted_at_rest, "LaunchTemplate", "prod-ingest", inputs(blockDeviceMappings=None)),
    (unencrypted_at_rest, "BucketServerSideEncryptionConfiguration", "prod", MISSING),
    (plain_transport, "BucketPolicy", "gpu-team", MISSING),
    (plain_transport, "FileSystemPolicy", "prod", inputs(policy='{"Statement": []}')),
    (broad_rights, "RolePolicy", "prod-leader", statement(Action="s3:*", Resource="arn:one")),
    (broad_rights, "RolePolicy", "prod-leader", statement(Action="s3:GetObject", Resource="*")),
    (
        broad_rights,
        "RolePolicy",
        "prod-spot-fallback",
        statement(Action="ec2:RunInstances", Resource="*", Condition=None),
    ),
    (
        broad_rights,
        "RolePolicy",
        "prod-spot-fallback",
        statement(
            Action="ec2:CreateTags",
            Resource="arn:aws:ec2:us-east-1:123456789012:*/*",
            Condition={"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:us-east-1:123456789012:*"}},
        ),
    ),
    (broad_rights, "RolePolicy", "prod-leader", statement(Action=None, NotAction="iam:PassRole")),
    (
        broad_rights,
        "Role",
        "prod-leader",
        inputs(managedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
    ),
    (foreign_principals, "BucketPolicy", "prod", statement(Effect="Allow", Condition=None)),
    (foreign_principals, "FileSystemPolicy", "prod", statement(Condition=None)),
    (
        foreign_principals,
        "Role",
        "prod-leader",
        statement("assumeRolePolicy", Principal={"AWS": "arn:aws:iam::999999999999:root"}),
    ),
    (without_cluster_tag, "aws", "prod", inputs(defaultTags="{}")),
    (without_cluster_tag, "Volume", "prod-leader-data", options(provider="another::id")),
    (without_cluster_tag, "Volume", "prod-leader-data", inputs(tags={CLUSTER_TAG: "another"})),
    (without_cluster_tag, "Instance", "prod", nested("rootBlockDevice", tags={"Name": "root"})),
    (without_cluster_tag, "Group", "gpu-team-research-1", inputs(tags=[])),
    (without_cluster_tag, "LaunchTemplate", "gpu-team-research-1", inputs(tagSpecifications=[])),
    *(
        (unprotected_data, kind, "prod", options(**{option: False}))
        for kind in sorted(DATA | GUARDS)
        for option in ("protect", "retain_on_delete")
    ),
    (unprotected_data, "Instance", "prod", options(protect=True)),
    (unprotected_data, "Group", "prod", options(retain_on_delete=True)),
    (unprotected_data, "aws", "prod", options(protect=False)),
    (secrets_in_plain, "Instance", "prod", inputs(userData="export POSTGRES_PASSWORD=canary-1234")),
    (secrets_in_plain, "Instance", "prod", inputs(userData={SECRET_SIGNATURE: "", "value": KEY})),
    (
        secrets_in_plain,
        "LaunchTemplate",
        "prod-ingest",
        inputs(userData=base64.b64encode(KEY.encode()).decode()),
    ),
    (secrets_in_plain, "Document", "prod", inputs(content=f'{{"key": "{KEY}"}}')),
    (
        secrets_in_plain,
        "Command",
        "onprem-leader-spec",
        told(redis="redis://default:canary@leader"),
    ),
    (
        secrets_in_plain,
        "Command",
        "onprem-rack1",
        inputs(environment={"SSH_PASSPHRASE": "canary-1"}),
    ),
    (
        secrets_in_plain,
        "Command",
        "onprem-rack1",
        inputs(environment={"KEY": "-----BEGIN OPENSSH PRIVATE KEY-----"}),
    ),
    (
        secrets_in_plain,
        "Secret",
        "prod",
        options(type="aws:secretsmanager/secretVersion:SecretVersion"),
    ),
    *(
        (
            secrets_in_plain,
            "Secret",
            "prod",
            options(type="aws:secretsmanager/secretVersion:SecretVersion", **changes),
        )
        for changes in (
            {"name": "graphistry-prod-secret-env", "inputs": {"secretString": "canary"}},
            {"inputs": {"secretString": {SECRET_SIGNATURE: "", "value": "canary"}}},
        )
    ),
]
"""A rule, and what breaks it: kind and start of the name (from the stack's on) of a resource, and the mistake in it."""

RULES = list(dict.fromkeys(rule for rule, *_ in MISTAKES))


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_file_keeps_every_rule(stack: str) -> None:
    made = registrations(stack)
    broken = [f"{rule.__name__}: {found}" for rule in RULES for found in rule(made)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("rule", "kind", "name", "change"),
    [
        pytest.param(*mistake, id=f"{mistake[0].__name__}-{number}")
        for number, mistake in enumerate(MISTAKES)
    ],
)
def test_every_rule_catches_what_it_forbids(
    rule: Rule, kind: str, name: str, change: Change
) -> None:
    stack = max((each for each in STACKS if f"{name}-".startswith(f"{each}-")), key=len)
    made = registrations(stack)
    start = "aws" if kind == "aws" else f"graphistry-{name}"
    chosen = next(each for each in made if each.kind == kind and each.name.startswith(start))
    assert list(rule([change(each) if each is chosen else each for each in made]))


def test_what_is_marked_as_a_secret_is_no_secret_in_plain() -> None:
    made = registrations("onprem")
    (chosen,) = (each for each in made if each.name == "graphistry-onprem-rack1-ready")
    marked = {"KEY": {SECRET_SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "value": KEY}}
    assert not list(secrets_in_plain([inputs(environment=marked)(chosen)]))


def test_every_allowance_is_needed() -> None:
    used = {
        allowance(action, resource, statement)
        for stack in STACKS
        for _, action, resource, statement in wildcards(registrations(stack))
    }
    assert used == set(ALLOWANCES)
