"""Credentials of another account than the cluster's: the cluster is not forgotten."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.account import ACCOUNT
from tests.deployment.checkout import Checkout

CHANGED_BY_PLAIN_PULUMI = [
    ("refresh",),
    ("up", "--refresh"),
    ("up",),
    ("destroy", "--exclude-protected"),
]
OTHER = "999999999999"


@pytest.fixture
def state(deployed: Checkout) -> Iterator[Path]:
    """The file of the cluster's state, which is put back."""
    file = deployed.root / ".sandbox/state/.pulumi/stacks/graphistry-cluster/sandbox.json"
    before = file.read_text()
    yield file
    file.write_text(before)


def elsewhere(text: str) -> str:
    """The state of the same cluster in another account, as these credentials are of another one."""
    return text.replace(ACCOUNT, OTHER)


def in_china(text: str) -> str:
    """The state of the same cluster in another partition."""
    return text.replace("arn:aws:", "arn:aws-cn:")


@pytest.mark.parametrize("move", [elsewhere, in_china])
@pytest.mark.parametrize(
    "command", ["up", "preview", "down", "purge --name sandbox", "status", "prove", "cost"]
)
def test_every_command_refuses_and_leaves_the_state_as_it_is(
    deployed: Checkout, state: Path, move: Callable[[str], str], command: str
) -> None:
    state.write_text(move(state.read_text()))
    before = state.read_bytes()
    refused = deployed.operate(*command.split())
    assert refused.returncode == 1
    assert "Nothing was changed" in refused.stdout, refused.stdout
    assert (OTHER if move is elsewhere else "the partition aws-cn") in refused.stdout
    assert state.read_bytes() == before


@pytest.mark.parametrize("command", CHANGED_BY_PLAIN_PULUMI)
def test_plain_pulumi_forgets_nothing(
    deployed: Checkout, state: Path, command: tuple[str, ...]
) -> None:
    state.write_text(elsewhere(state.read_text()))
    before, account = of_aws(deployed), deployed.account()
    refused = deployed.pulumi(*command, "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert OTHER in refused.stdout + refused.stderr
    assert of_aws(deployed) == before
    assert deployed.account() == account


def test_plain_pulumi_moves_no_cluster_to_another_region(deployed: Checkout, state: Path) -> None:
    """It failed at what is protected, once it had written the other region down: later runs believed that one."""
    stack_file = deployed.root / "stacks" / "Pulumi.sandbox.yaml"
    content, before = stack_file.read_text(), deployed.account()
    stack_file.write_text(content.replace("us-east-1", "us-west-2"))
    try:
        refused = deployed.pulumi("up", "--yes", "--skip-preview")
    finally:
        stack_file.write_text(content)
    assert refused.returncode != 0
    assert "but this cluster is in 'us-east-1'" in refused.stdout + refused.stderr
    assert deployed.account() == before
    assert "us-west-2" not in state.read_text()
    deployed.succeed("preview")


def test_a_state_of_an_earlier_version_is_not_believed_by_the_present_credentials(
    deployed: Checkout, state: Path
) -> None:
    content = json.loads(state.read_text())
    for each in content["checkpoint"]["latest"]["resources"]:
        for part in ("inputs", "outputs"):
            each.get(part, {}).pop("allowedAccountIds", None)
    state.write_text(elsewhere(json.dumps(content)))
    before, account = of_aws(deployed), deployed.account()
    refused = deployed.pulumi("up", "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert f"the cluster is in AWS account {OTHER}" in refused.stdout + refused.stderr
    assert of_aws(deployed) == before
    assert deployed.account() == account


def of_aws(checkout: Checkout) -> dict[str, str]:
    """What the state has of AWS."""
    return {
        each["urn"]: each["id"] for each in checkout.resources() if each["type"].startswith("aws:")
    }
