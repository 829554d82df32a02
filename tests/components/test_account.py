"""The account that the provider works in is the recorded one, whatever the present credentials are."""

import json
from typing import Any

import pulumi
import pytest

from model.rehearsal import DONE
from tests.conftest import Deploy, deployed
from tests.harness import RECORDED, Recorder

OTHER = "999999999999"
CHINESE = {
    "type": "aws:ec2/vpc:Vpc",
    "outputs": {"arn": "arn:aws-cn:ec2:cn-north-1:123456789012:vpc/vpc-1"},
}
ELSEWHERE = {
    "type": "aws:ec2/vpc:Vpc",
    "outputs": {"arn": f"arn:aws:ec2:us-east-1:{OTHER}:vpc/vpc-1"},
}


def allowed(recorder: Recorder) -> Any:
    (provider,) = (each for each in recorder if each.type == "pulumi:providers:aws")
    return json.loads(provider.inputs["allowedAccountIds"])


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the state has; a test puts it there."""
    held: list[dict[str, Any]] = []
    monkeypatch.setattr("tests.harness.RECORDED", held)
    return held


def test_the_provider_has_the_account_of_the_state() -> None:
    assert RECORDED
    assert allowed(deployed()) == ["123456789012"]


def test_of_an_earlier_version_it_has_the_account_of_the_resources(
    deploy_stack: Deploy, recorded: list[dict[str, Any]]
) -> None:
    recorded.append(ELSEWHERE)
    assert allowed(deploy_stack()) == [OTHER]


def test_of_a_new_cluster_it_has_the_account_of_whoever_deploys(
    deploy_stack: Deploy, recorded: list[dict[str, Any]]
) -> None:
    assert allowed(deploy_stack()) == ["123456789012"]


def test_new_followers_of_another_stacks_leader_are_in_the_account_of_the_leader(
    deploy_stack: Deploy, recorded: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.harness import LEADER_OUTPUTS

    secret = f"arn:aws:secretsmanager:us-east-1:{OTHER}:secret:prod"
    join = {**LEADER_OUTPUTS["join"], "secretArn": secret}
    monkeypatch.setitem(LEADER_OUTPUTS, "join", join)
    assert allowed(deploy_stack("gpu-team")) == [OTHER]


@pytest.mark.parametrize("resource", [ELSEWHERE, CHINESE])
def test_plain_pulumi_says_in_one_sentence_where_the_cluster_is(
    deploy_stack: Deploy,
    recorded: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    resource: dict[str, Any],
) -> None:
    recorded.append(resource)
    monkeypatch.setenv(DONE, "")
    with pytest.raises(pulumi.RunError, match=r"the cluster is in (AWS account 9|the partition)"):
        deploy_stack()
