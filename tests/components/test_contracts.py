"""Rules that hold for every component and every resource of every stack file."""

import json

import pytest

from tests.conftest import deploy_changed
from tests.harness import ROOT, Recorder, Registration, stack_config

STACKS = sorted(each.name.split(".")[1] for each in (ROOT / "stacks").glob("Pulumi.*.yaml"))
ON_HOSTS = [stack for stack in STACKS if stack_config(stack)["graphistry-cluster:site"] == "hosts"]
JOINED = [stack for stack in STACKS if stack_config(stack)["graphistry-cluster:leaderStack"]]
ON_AWS = [stack for stack in STACKS if stack not in (*ON_HOSTS, *JOINED)]

UNTAGGED = {
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
    "RolePolicyAttachment",
    "Record",
    "EventTarget",
    "Group",
    "Command",
}
"""Kinds that are not tagged (objects and groups are found by their names, a command is no thing of AWS's)."""


@pytest.fixture(scope="module", params=STACKS)
def any_site(request: pytest.FixtureRequest) -> Recorder:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return deploy_changed(monkeypatch, request.param, {}, preview=False)


@pytest.fixture(scope="module", params=ON_AWS)
def recorder(request: pytest.FixtureRequest) -> Recorder:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return deploy_changed(monkeypatch, request.param, {}, preview=False)


def kind(registration: Registration) -> str:
    return registration.type.rsplit(":", 1)[-1]


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
        if kind(each) not in UNTAGGED:
            assert each.inputs.get("tags", {}).get("Name") == each.name, each.urn


def test_names_that_recovery_looks_for_are_unique_per_kind(any_site: Recorder) -> None:
    seen = [(kind(each), each.name) for each in resources(any_site)]
    assert len(seen) == len(set(seen))


def test_nothing_is_open_to_the_internet(recorder: Recorder) -> None:
    for each in recorder.of("SecurityGroupIngressRule"):
        assert each.inputs.get("cidrIpv4") != "0.0.0.0/0", each.urn


def test_port_22_is_open_nowhere(recorder: Recorder) -> None:
    for each in recorder.of("SecurityGroupIngressRule"):
        assert not each.inputs["fromPort"] <= 22 <= each.inputs["toPort"], each.urn


def test_data_services_are_open_to_security_groups_only(recorder: Recorder) -> None:
    for each in recorder.of("SecurityGroupIngressRule"):
        if each.inputs["fromPort"] in (5432, 6379, 2049):
            assert "referencedSecurityGroupId" in each.inputs, each.urn
            assert "cidrIpv4" not in each.inputs, each.urn


def test_every_rule_names_one_port(recorder: Recorder) -> None:
    rules = recorder.of("SecurityGroupIngressRule") + recorder.of("SecurityGroupEgressRule")
    assert rules
    for each in rules:
        assert each.inputs["ipProtocol"] == "tcp", each.urn
        assert each.inputs["fromPort"] == each.inputs["toPort"], each.urn


def test_every_disk_is_encrypted(recorder: Recorder) -> None:
    for each in recorder.of("Volume") + recorder.of("FileSystem"):
        assert each.inputs["encrypted"] is True, each.urn
    for each in recorder.of("Instance"):
        assert each.inputs["rootBlockDevice"]["encrypted"] is True, each.urn
    for each in recorder.of("LaunchTemplate"):
        for device in each.inputs["blockDeviceMappings"]:
            assert device["ebs"]["encrypted"] == "true", each.urn


def test_every_machine_requires_version_two_of_the_metadata_service(recorder: Recorder) -> None:
    machines = recorder.of("Instance") + recorder.of("LaunchTemplate")
    assert machines
    for each in machines:
        assert each.inputs["metadataOptions"]["httpTokens"] == "required", each.urn
        assert each.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 2, each.urn


def test_no_machine_has_a_key_pair_or_a_public_address(recorder: Recorder) -> None:
    for each in recorder.of("Instance") + recorder.of("LaunchTemplate"):
        assert "keyName" not in each.inputs, each.urn
        assert each.inputs.get("associatePublicIpAddress") in (None, False), each.urn
        for interface in each.inputs.get("networkInterfaces", []):
            assert interface["associatePublicIpAddress"] == "false", each.urn


def test_every_subnet_of_a_node_is_private(recorder: Recorder) -> None:
    for each in recorder.of("Subnet"):
        assert not each.inputs.get("mapPublicIpOnLaunch"), each.urn
    private = {f"{each.name}-id" for each in recorder.of("Subnet") if "-private-" in each.name}
    for each in recorder.of("Group"):
        assert set(each.inputs["vpcZoneIdentifiers"]) <= private, each.urn


def test_no_policy_allows_every_action_or_an_administrator(recorder: Recorder) -> None:
    for each in recorder.of("RolePolicy"):
        for statement in json.loads(each.inputs["policy"])["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert "*" not in action, each.urn
    for each in recorder.of("RolePolicyAttachment"):
        assert each.inputs["policyArn"].endswith("/AmazonSSMManagedInstanceCore"), each.urn


def test_what_holds_data_is_protected_and_retained(recorder: Recorder) -> None:
    kept = {kind(each) for each in resources(recorder) if each.protect}
    assert {"Volume", "FileSystem", "Secret", "Bucket"} <= kept
    for each in resources(recorder):
        if each.protect:
            assert each.retain_on_delete, each.urn


def test_the_provider_is_protected_so_that_no_region_is_left_behind(recorder: Recorder) -> None:
    (provider,) = (each for each in recorder if each.type == "pulumi:providers:aws")
    assert provider.protect


def test_what_guards_data_is_kept_with_it(recorder: Recorder) -> None:
    for each in recorder:
        if kind(each).startswith("Bucket") and kind(each) != "BucketObjectv2":
            assert each.protect, each.urn
        if kind(each) in ("FileSystemPolicy", "BackupPolicy"):
            assert each.protect, each.urn


def test_no_machine_is_kept(recorder: Recorder) -> None:
    for each in recorder.of("Instance") + recorder.of("Group") + recorder.of("LaunchTemplate"):
        assert not each.protect, each.urn
        assert not each.retain_on_delete, each.urn


def test_the_secret_is_created_empty(recorder: Recorder) -> None:
    assert not recorder.of("SecretVersion")
    (secret,) = recorder.of("Secret")
    assert set(secret.inputs) == {"description", "recoveryWindowInDays", "tags"}
