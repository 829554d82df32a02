"""What rights say by tags, names and conditions, held against what they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.conftest import Deploy, deployed
from tests.harness import SECRET_SIGNATURE, Recorder, arn


def statement(recorder: Recorder, role: str, action: str) -> Mapping[str, Any]:
    """The one statement of a role's own policy that allows *action*."""
    policy = json.loads(recorder["RolePolicy", role].inputs["policy"])
    (found,) = (
        each
        for each in policy["Statement"]
        if action in (each["Action"] if isinstance(each["Action"], list) else [each["Action"]])
    )
    return dict(found)


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_follower_may_have_its_own_group_replace_it_by_the_tags_the_group_has(stack: str) -> None:
    recorder = deployed(stack)
    groups = recorder.of("Group")
    assert groups
    for group in groups:
        role = f"{group.name.removesuffix('-group')}-role"
        allowed = statement(recorder, role, "autoscaling:SetInstanceHealth")
        tags = {tag["key"]: tag["value"] for tag in group.inputs["tags"]}
        assert allowed["Condition"] == {
            "StringEquals": {
                f"autoscaling:ResourceTag/{key}": tags[key]
                for key in ("Name", "graphistry-cluster:cluster")
            }
        }


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_what_switches_a_group_may_tag_what_its_launch_makes_and_nothing_else(stack: str) -> None:
    role = f"graphistry-{stack}-spot-fallback-role"
    assert statement(deployed(stack), role, "ec2:CreateTags") == {
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": "arn:aws:ec2:us-east-1:123456789012:*/*",
        # AWS knows the launch template of RunInstances alone; of CreateTags it knows which call it is part of.
        "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
    }


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_follower_sees_who_else_asks_to_be_replaced_and_writes_its_own_wish_only(
    stack: str,
) -> None:
    recorder = deployed(stack)
    for group in recorder.of("Group"):
        role = f"{group.name.removesuffix('-group')}-role"
        node = recorder["Role", role].inputs["description"].removeprefix("Graphistry node ")
        listing = statement(recorder, role, "s3:ListBucket")
        bucket = listing["Resource"][0]
        assert "/" not in bucket.rpartition(":::")[2]
        assert listing["Condition"] == {"StringLike": {"s3:prefix": ["nodes/*"]}}
        policy = json.loads(recorder["RolePolicy", role].inputs["policy"])
        objects = {each["Sid"]: (each["Action"], each["Resource"]) for each in policy["Statement"]}
        assert objects["WishesForReplacement"] == (
            ["s3:GetObject"],
            [f"{bucket}/nodes/*/replacement.json"],
        )
        assert objects["OwnWishForReplacement"] == (
            ["s3:PutObject"],
            [f"{bucket}/nodes/{node}/replacement.json"],
        )


def hop_limits(recorder: Recorder) -> set[int]:
    machines = [*recorder.of("Instance"), *recorder.of("LaunchTemplate")]
    return {each.inputs["metadataOptions"]["httpPutResponseHopLimit"] for each in machines}


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_a_container_gets_a_token_of_its_nodes_role_only_where_the_stack_file_says_so(
    stack: str,
) -> None:
    assert hop_limits(deployed(stack)) == {1}
    opened = deployed(stack, instanceMetadata="containers")
    assert hop_limits(opened) == {2}
    for recorder, expected in ((deployed(stack), False), (opened, True)):
        stored = [
            json.loads(each.inputs["content"])
            for each in recorder.of("BucketObjectv2")
            if each.name.endswith("-specification")
        ]
        assert {each["site"]["containersUseRole"] for each in stored} == {expected}


KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"


def test_a_key_of_the_customers_encrypts_all_data_and_the_nodes_use_it_through_services_alone(
    deploy_stack: Deploy,
) -> None:
    recorder = deploy_stack(encryptionKey=KEY, followers={"one": {"profile": "t4"}})
    (volume,), (folder,) = map(recorder.of, ("Volume", "FileSystem"))
    (leader,), (template,), (logs,) = map(recorder.of, ("Instance", "LaunchTemplate", "LogGroup"))
    (bucket,) = recorder.of("BucketServerSideEncryptionConfiguration")
    assert {each.inputs["kmsKeyId"] for each in (volume, folder, logs)} == {KEY}
    assert [each.inputs["kmsKeyId"] for each in recorder.of("Secret")] == [KEY, KEY]
    assert leader.inputs["rootBlockDevice"]["kmsKeyId"] == KEY
    assert template.inputs["blockDeviceMappings"][0]["ebs"]["kmsKeyId"] == KEY
    by_default = bucket.inputs["rules"][0]["applyServerSideEncryptionByDefault"]
    assert by_default == {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}
    for each in recorder.of("Role"):
        if each.inputs.get("description", "").startswith("Graphistry node "):
            allowed = statement(recorder, each.name, "kms:Decrypt")
            assert allowed["Resource"] == [KEY]
            assert allowed["Condition"] == {
                "StringEquals": {
                    "kms:ViaService": [
                        "s3.us-east-1.amazonaws.com",
                        "secretsmanager.us-east-1.amazonaws.com",
                    ]
                }
            }


def test_logged_shells_are_started_with_the_clusters_own_document(deploy_stack: Deploy) -> None:
    keys = {"shells": {"logged": True}, "followers": {"one": {"profile": "t4"}}}
    recorder = deploy_stack(**keys, encryptionKey=KEY)
    (document,) = (each for each in recorder.of("Document") if each.name.endswith("-sessions"))
    (group,) = (each for each in recorder.of("LogGroup") if each.name.endswith("-sessions"))
    content = json.loads(document.inputs["content"])
    assert document.inputs["documentType"] == "Session"
    assert content["inputs"]["cloudWatchLogGroupName"]
    assert content["inputs"]["cloudWatchStreamingEnabled"] is True
    assert content["inputs"]["cloudWatchEncryptionEnabled"] is True
    assert group.inputs["kmsKeyId"] == KEY
    assert group.inputs["retentionInDays"] == 365
    for each in recorder.of("Role"):
        if each.inputs.get("description", "").startswith("Graphistry node "):
            written = statement(recorder, each.name, "logs:PutLogEvents")
            assert all("-sessions" in resource for resource in written["Resource"])


def test_without_a_key_nothing_names_one(deploy_stack: Deploy) -> None:
    for each in deploy_stack(followers={"one": {"profile": "t4"}}):
        assert "kms" not in json.dumps(each.inputs, default=str).lower()


IAM = "arn:aws:iam::123456789012"
CLIENT = ("ClientMount", "ClientWrite", "ClientRootAccess")


def refused(action: str, principal: str | None) -> bool:
    """Whether the shared folder's policy denies what any identity policy may allow, over TLS."""
    policy = json.loads(
        deployed("prod")["FileSystemPolicy", "graphistry-prod-shared-folder-policy"].inputs[
            "policy"
        ]
    )
    for each in policy["Statement"]:
        admitted = each["Condition"].get("ArnNotLike", {}).get("aws:PrincipalArn")
        if (
            each["Effect"] == "Deny"
            and admitted
            and f"elasticfilesystem:{action}" in each["Action"]
        ):
            assert each["Principal"] == {"AWS": "*"}
            return principal is None or not fnmatchcase(principal, admitted)
    return False


@pytest.mark.parametrize(
    "principal",
    [
        None,
        f"{IAM}:root",
        f"{IAM}:user/somebody",
        f"{IAM}:role/administrator",
        f"{IAM}:role/graphistry-cluster/dev/graphistry-dev-leader-role",
        f"{IAM}:role/graphistry-cluster/prod-2/graphistry-prod-2-leader-role",
        "arn:aws:iam::210987654321:role/graphistry-cluster/prod/graphistry-prod-leader-role",
    ],
)
@pytest.mark.parametrize("action", CLIENT)
def test_no_identity_policy_of_the_account_admits_others_to_the_shared_folder(
    action: str, principal: str | None
) -> None:
    assert refused(action, principal)


@pytest.mark.parametrize("action", CLIENT)
def test_the_roles_of_nodes_are_admitted_to_the_shared_folder(action: str) -> None:
    roles = [
        f"{IAM}:role{role.inputs['path']}{role.name}"
        for stack in ("prod", "gpu-team")
        for role in deployed(stack).of("Role")
        if role.inputs.get("description", "").startswith("Graphistry node ")
    ]
    assert any("/prod/gpu-team/" in role for role in roles)
    assert not [role for role in roles if refused(action, role)]


@pytest.mark.parametrize(
    "action", ["PutFileSystemPolicy", "DeleteFileSystemPolicy", "Backup", "Restore"]
)
def test_the_shared_folder_stays_the_administrators_and_is_backed_up(action: str) -> None:
    assert not refused(action, f"{IAM}:role/administrator")


def test_a_leader_lists_nothing_and_asks_for_nothing() -> None:
    policy = deployed("prod")["RolePolicy", "graphistry-prod-leader-role"].inputs["policy"]
    assert "ListBucket" not in policy
    assert "replacement.json" not in policy


VARIABLES = {"SMTP_PASSWORD": "canary-of-the-mail", "SSO_TOKEN": "canary-of-the-sign-in"}


@pytest.mark.parametrize("stack", ["prod", "gpu-team", "onprem"])
def test_secret_variables_are_marked_wherever_they_go_and_in_no_specification(stack: str) -> None:
    recorder = deployed(stack, secretEnv=VARIABLES)
    seen = []
    for each in recorder:
        for name, value in each.inputs.items():
            text = json.dumps(value, default=str)
            if "canary" in text:
                assert "canary" not in json.dumps(plain(value), default=str), each.urn
                seen.append(f"{each.kind}.{name}")
        assert "canary" not in json.dumps(each.outputs, default=str)
    nodes = 3 if stack == "onprem" else 1
    assert seen == ["Command.stdin" if stack == "onprem" else "SecretVersion.secretString"] * nodes


def plain(value: Any) -> Any:
    """A value without what is marked as a secret."""
    if isinstance(value, Mapping):
        if SECRET_SIGNATURE in value:
            return None
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stack", ["prod", "gpu-team"])
def test_every_node_reads_the_secret_variables_of_its_own_stack_and_none_writes_them(
    stack: str,
) -> None:
    recorder = deployed(stack, secretEnv=VARIABLES)
    name = f"graphistry-{stack}-secret-env"
    secret = recorder["Secret", name]
    own = arn(secret.type, name, secret.inputs)
    stored = [each for each in recorder.of("BucketObjectv2") if "specification" in each.name]
    assert stored
    for each in stored:
        told = json.loads(each.inputs["content"])["secretEnv"]
        assert told == {"arn": own, "version": f"version-of-{name}"}
        role = each.name.replace("-specification", "-role")
        policy = json.loads(recorder["RolePolicy", role].inputs["policy"])
        (allowed,) = (found for found in policy["Statement"] if own in found["Resource"])
        assert allowed["Action"] == ["secretsmanager:GetSecretValue"]
        assert allowed["Resource"] == [own]
    closed = recorder["SecretPolicy", f"{name}-closed"]
    assert closed.inputs["secretArn"] == own
    (denied,) = json.loads(closed.inputs["policy"])["Statement"]
    assert denied["Effect"] == "Deny"
    assert "secretsmanager:PutSecretValue" in denied["Action"]
    for node in recorder.of("Role"):
        if node.inputs.get("description", "").startswith("Graphistry node "):
            of_nodes = denied["Condition"]["ArnLike"]["aws:PrincipalArn"]
            assert fnmatchcase(arn(node.type, node.name, node.inputs), of_nodes)
    # Closed before there is anything in it.
    assert closed.urn in recorder["SecretVersion", name].dependencies


def test_without_secret_variables_there_is_no_secret_and_no_right() -> None:
    recorder = deployed("prod")
    assert not recorder.of("SecretVersion")
    for each in recorder.of("RolePolicy"):
        assert "SecretVariables" not in each.inputs["policy"]


def test_the_key_of_the_customers_encrypts_secret_variables() -> None:
    recorder = deployed("prod", secretEnv=VARIABLES, encryptionKey=KEY)
    secret = recorder["Secret", "graphistry-prod-secret-env"]
    assert secret.inputs["kmsKeyId"] == KEY
