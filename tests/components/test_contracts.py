"""Rules that hold for every component and every resource of every stack file."""

import pytest

from tests.conftest import deployed
from tests.harness import ROOT, Recorder, Registration, stack_config

STACKS = sorted(each.name.split(".")[1] for each in (ROOT / "stacks").glob("Pulumi.*.yaml"))
ON_HOSTS = [stack for stack in STACKS if stack_config(stack)["graphistry-cluster:site"] == "hosts"]
JOINED = [stack for stack in STACKS if stack_config(stack)["graphistry-cluster:leaderStack"]]
ON_AWS = [stack for stack in STACKS if stack not in (*ON_HOSTS, *JOINED)]

UNTAGGED = {
    "SecretPolicy",
    "DefaultSecurityGroup",
    "RouteTableAssociation",
    "VolumeAttachment",
    "MountTarget",
    "BackupPolicy",
    "FileSystemPolicy",
    "BucketVersioning",
    "BucketServerSideEncryptionConfiguration",
    "BucketPublicAccessBlock",
    "BucketOwnershipControls",
    "BucketPolicy",
    "BucketLifecycleConfiguration",
    "BucketObjectv2",
    "RolePolicy",
    "Record",
    "EventTarget",
    "Group",
    "Command",
}
"""Kinds that are not tagged (objects and groups are found by their names, a command is no thing of AWS's)."""


@pytest.fixture(scope="module", params=STACKS)
def any_site(request: pytest.FixtureRequest) -> Recorder:
    return deployed(request.param)


@pytest.fixture(scope="module", params=ON_AWS)
def recorder(request: pytest.FixtureRequest) -> Recorder:
    return deployed(request.param)


def resources(recorder: Recorder) -> list[Registration]:
    return [each for each in recorder if each.custom and not each.type.startswith("pulumi:")]


def test_every_resource_has_a_component_as_its_parent(any_site: Recorder) -> None:
    components = {each.urn for each in any_site if not each.custom}
    for each in resources(any_site):
        assert each.parent in components, each.urn


def test_every_name_starts_with_the_name_of_its_parent(any_site: Recorder) -> None:
    by_urn = {each.urn: each for each in any_site}
    for each in any_site:
        if each.parent in by_urn:
            assert each.name.startswith(by_urn[each.parent].name), each.urn


def test_every_component_registers_its_outputs(any_site: Recorder) -> None:
    for each in any_site:
        if not each.custom:
            assert each.urn in any_site.outputs_registered, each.urn


def test_every_component_has_a_token_of_this_project(any_site: Recorder) -> None:
    for each in any_site:
        if not each.custom:
            assert each.type.startswith("graphistry-cluster:index:"), each.type


def test_every_resource_uses_the_cluster_provider(any_site: Recorder) -> None:
    providers = {
        each.type.rsplit(":", 1)[-1]: each.urn
        for each in any_site
        if each.type.startswith("pulumi:providers:")
    }
    for each in resources(any_site):
        assert each.provider.startswith(providers[each.type.partition(":")[0]]), each.urn


def test_every_resource_that_can_be_tagged_is_named(recorder: Recorder) -> None:
    for each in resources(recorder):
        if each.kind not in UNTAGGED:
            assert each.inputs.get("tags", {}).get("Name") == each.name, each.urn


def test_names_that_recovery_looks_for_are_unique_per_kind(any_site: Recorder) -> None:
    seen = [(each.kind, each.name) for each in resources(any_site)]
    assert len(seen) == len(set(seen))


def test_the_secret_is_created_empty(recorder: Recorder) -> None:
    assert not recorder.of("SecretVersion")
    assert len(recorder.of("Secret")) == 2
    for secret in recorder.of("Secret"):
        assert set(secret.inputs) == {"description", "recoveryWindowInDays", "tags"}


def test_secret_variables_are_in_a_secret_that_is_not_kept() -> None:
    """The stack file has them."""
    recorder = deployed(secretEnv={"SMTP_PASSWORD": "canary-of-the-mail"})
    secret = recorder["Secret", "graphistry-sandbox-secret-env"]
    assert secret.inputs["recoveryWindowInDays"] == 0
    assert not secret.protect
    assert not secret.retain_on_delete


def test_a_bucket_is_configured_by_one_call_at_a_time(any_site: Recorder) -> None:
    """S3 refuses the second of two at once (OperationAborted)."""
    made = {each.urn: each for each in any_site}

    def before(urn: str) -> set[str]:
        direct = set(made[urn].dependencies) & set(made)
        return direct.union(*(before(each) for each in direct))

    configurations: dict[str, list[str]] = {}
    for each in any_site:
        if each.type.startswith("aws:s3/bucket") and each.kind not in ("Bucket", "BucketObjectv2"):
            (bucket,) = each.property_dependencies["bucket"]
            configurations.setdefault(bucket, []).append(each.urn)
    for urns in configurations.values():
        in_turn = sorted(urns, key=lambda urn: len(before(urn)))
        assert len(urns) > 1
        for position, urn in enumerate(in_turn):
            assert set(in_turn[:position]) <= before(urn), urn
