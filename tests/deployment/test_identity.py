"""Two clusters of one name in one account: each state has an id, by which nobody takes another's for their own."""

import shutil
from collections.abc import Iterator

import pytest

from model.tags import GIVEN_UP_TAG, ID_TAG
from tests.deployment.checkout import Checkout

WITH_ID = {
    "model/tags.py": {", ID_TAG: identity}": "}"},
    "components/aws/data_backups.py": {
        'f"{tags[CLUSTER_TAG]}/{tags[ID_TAG]}"': "tags[CLUSTER_TAG]",
        "_policy(arn, tags[ID_TAG])": "_policy(arn, tags[CLUSTER_TAG])",
    },
}
"""Where the program has the id of the state, and what stood there before."""


@pytest.fixture
def colleague(deployed: Checkout) -> Iterator[Checkout]:
    """Somebody whose stack has the same name, and whose state is elsewhere."""
    state = deployed.root / ".sandbox" / "state"
    ours = state.rename(state.with_name("ours"))
    yield deployed
    shutil.rmtree(state, ignore_errors=True)
    ours.rename(state)


def test_an_account_with_a_cluster_of_this_name_is_refused(colleague: Checkout) -> None:
    before = colleague.account()
    refused = colleague.operate("up")
    assert refused.returncode == 1
    assert "holds a cluster of this name that is not in this stack's state" in refused.stdout
    assert "made by arn:aws:iam::123456789012:" in refused.stdout.replace("\n", " ")
    assert colleague.account() == before


def test_machines_that_another_state_has_are_not_ended_well(colleague: Checkout) -> None:
    before = colleague.account()
    ended = colleague.operate("down")
    told = " ".join(ended.stdout.split())
    assert ended.returncode == 1
    assert "Pulumi's state here has no stack sandbox, and us-east-1 has machines of it" in told
    assert "i-" in told
    assert colleague.account() == before


def test_a_cluster_of_an_earlier_version_gets_its_id_and_nothing_is_replaced(
    checkout: Checkout,
) -> None:
    modules = {checkout.root / name: parts for name, parts in WITH_ID.items()}
    texts = {module: module.read_text() for module in modules}
    for module, parts in modules.items():
        text = texts[module]
        for now, before_it in parts.items():
            assert now in text
            text = text.replace(now, before_it)
        module.write_text(text)
    checkout.succeed("up")
    before = ids(checkout)
    # The rights of the snapshots' role name the key, and nothing has the tag.
    assert f'"{ID_TAG}"' not in checkout.state()
    for module, text in texts.items():
        module.write_text(text)
    assert set(checkout.plan()) == {"update"}
    checkout.succeed("up")
    assert ids(checkout) == before
    assert checkout.plan("--refresh") == {}  # the same id again
    (vpc,) = checkout.client("ec2").describe_vpcs(
        Filters=[{"Name": "tag-key", "Values": [ID_TAG]}]
    )["Vpcs"]
    assert vpc["VpcId"] in before.values()


def test_data_that_is_given_up_by_name_is_marked(deployed: Checkout) -> None:
    before = deployed.state_of("aws:ebs/volume:Volume")
    zone = before["outputs"]["availabilityZone"]
    other = next(f"us-east-1{letter}" for letter in "ab" if not zone.endswith(letter))
    deployed.change(leader={**deployed.setting("leader"), "availabilityZone": other})
    deployed.succeed("up", "--name", "graphistry-sandbox-leader-data")
    assert deployed.state_of("aws:ebs/volume:Volume")["id"] != before["id"]
    marked = deployed.client("ec2").describe_volumes(
        Filters=[{"Name": "tag-key", "Values": [GIVEN_UP_TAG]}]
    )["Volumes"]
    assert [each["VolumeId"] for each in marked] == [before["id"]]


def ids(checkout: Checkout) -> dict[str, str]:
    """The ids of everything that AWS would make anew; a wait has another command."""
    return {
        each["urn"]: each["id"] for each in checkout.resources() if each["type"].startswith("aws:")
    }
