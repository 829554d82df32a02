"""What is deployed, and what only a state says is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from model.problems import UserError
from operate.commands import shell
from operate.nodes.present import deployed_outputs

OUTPUTS = {"followers": {}, "bucket": "documents"}


def opened(outputs: dict[str, Any], *, sandbox: bool = True) -> Any:
    """A deployment whose state has *outputs*, and whose AWS is moto."""
    return SimpleNamespace(
        stack="sandbox",
        choice=" sandbox",
        sandbox=SimpleNamespace() if sandbox else None,
        exists=lambda: True,
        outputs=lambda: outputs,
        client=lambda service: boto3.client(service, region_name="us-east-1"),
    )


def test_a_state_that_outlived_its_sandbox_is_not_deployed() -> None:
    with mock_aws():
        with pytest.raises(UserError, match=r"is not deployed; `./cluster up sandbox` deploys it"):
            deployed_outputs(opened(OUTPUTS))
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="documents")
        assert deployed_outputs(opened(OUTPUTS)) == OUTPUTS


def test_hosts_have_no_bucket_and_a_bucket_on_aws_is_not_asked_for() -> None:
    on_hosts: dict[str, Any] = {"followers": {}}
    assert deployed_outputs(opened(on_hosts)) == on_hosts
    assert deployed_outputs(opened(OUTPUTS, sandbox=False)) == OUTPUTS


@pytest.mark.parametrize(
    ("outputs", "logged"),
    [({}, []), ({"sessionDocument": "own"}, ["--document-name", "own"])],
)
def test_a_shell_is_started_with_the_document_that_logs_it(
    outputs: dict[str, Any], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimpleNamespace(instance_id="i-1")
    leader = SimpleNamespace(node=SimpleNamespace(name="leader", machine=machine))
    monkeypatch.setattr(shell, "nodes", lambda *_: [leader])
    deployment = opened(outputs, sandbox=False)
    deployment.settings, deployment.region = None, "us-east-1"
    assert shell.shell_command(deployment, "leader", outputs) == [
        *("aws", "ssm", "start-session", "--region", "us-east-1", "--target", "i-1"),
        *logged,
    ]
