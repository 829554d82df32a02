"""The cost of a stack with the sandbox's AWS: its price list, what runs there, and what it refuses to say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner

from model.cost import SOFTWARE, monthly
from model.gpu_catalogue import CATALOGUE, read_catalogue
from model.prices import UNITS, read_prices
from model.problems import Problem
from model.settings.image import MARKETPLACE_PAGE
from model.tags import CLUSTER_TAG
from preflight.budget import ACTIVATE, budget
from preflight.cost import price, reckoning
from preflight.cost_table import cost_document, cost_line, cost_table
from preflight.price_list import list_prices
from preflight.situation import Remark, RunningMachine, Situation, UnansweredError
from sandbox import daemon
from sandbox.provider import price_list
from tests.preflight import situations
from tests.preflight.situations import CLUSTER
from tools.generate_gpu_catalogue import app

STACK: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge", "g4dn.4xlarge"]}},
    "leader": {"profile": "t4"},
    "followers": {f"f{number}": {"profile": "t4"} for number in range(20)},
}


class Clients:
    """Clients of the sandbox that count their calls and refuse those a test denies."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._alone = Lock()
        self.calls: Counter[str] = Counter()
        self.denied: set[str] = set()

    def __call__(self, service: str) -> Any:
        with self._alone:
            client = boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=self._endpoint,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        client.meta.events.register("before-call", self._called)
        return client

    def _called(self, model: Any, **_: Any) -> None:
        with self._alone:
            self.calls[model.name] += 1
        if model.name in self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, model.name)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox") / "prices.json"


@pytest.fixture(scope="module")
def served(file: Path) -> str:
    return daemon.serve_aws(directory=file.parent)


@pytest.fixture
def clients(served: str, file: Path) -> Iterator[Clients]:
    yield Clients(served)
    file.unlink(missing_ok=True)


def situation(
    clients: Clients,
    raw: dict[str, Any] = STACK,
    *,
    region: str = "us-east-1",
    machines: tuple[RunningMachine, ...] = (),
) -> Situation:
    return situations.situation(raw, *machines, clients=clients, region=region)


def shown(of: Situation) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(cost_table(reckoning(of)))
    return capture.get()


def test_the_price_list_says_what_comes_with_the_program(clients: Clients) -> None:
    found = list_prices(clients("pricing"), "us-east-1", CATALOGUE)
    expected = {name: each.price for name, each in CATALOGUE.items() if each.price}
    assert {name: each.usd for name, each in found.items()} == {
        **{name: each.usd for name, each in expected.items()},
        **{name: each.usd for name, each in read_prices().items()},
    }
    assert found["g5.xlarge"].date == "2026-08-17"


def test_prices_can_be_set_by_region(clients: Clients, file: Path) -> None:
    file.write_text('{"eu-west-1": {"g5.xlarge": 1.123}, "us-east-1": {"NAT gateway": null}}')
    europe = list_prices(clients("pricing"), "eu-west-1", ["g5.xlarge", "g6.xlarge"])
    assert {name: (each.usd, each.region) for name, each in europe.items()} == {
        "g5.xlarge": (Decimal("1.123"), "eu-west-1")
    }
    assert "NAT gateway" not in list_prices(clients("pricing"), "us-east-1", [])


def test_a_refresh_writes_what_aws_asks_and_says_what_changed(
    clients: Clients, served: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('{"us-east-1": {"g5.xlarge": 9.5, "g6.xlarge": null}}')
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", served)
    types, prices = tmp_path / "types.csv", tmp_path / "prices.csv"
    types.write_bytes((Path(__file__).parents[2] / "model/gpu_instance_types.csv").read_bytes())
    result = CliRunner().invoke(app, ["--output", str(types), "--prices-output", str(prices)])
    assert result.exit_code == 0, result.output
    assert "another price: g5.xlarge, g6.xlarge\n" in result.output
    written = read_catalogue(types)
    assert written["g5.xlarge"].price is not None
    assert written["g5.xlarge"].price.usd == Decimal("9.5")
    assert written["g6.xlarge"].price is None
    assert set(read_prices(prices)) == set(UNITS) - {"EFS provisioned throughput"}


def test_twenty_followers_cost_no_call_each(clients: Clients) -> None:
    asked = situation(clients)
    price(asked)
    budget(asked)
    shown(asked)
    # Two instance types, the volumes, their snapshots, the NAT gateways, the addresses, the file system.
    assert clients.calls == {
        "GetProducts": 7,
        "DescribeVolumes": 1,
        "DescribeNatGateways": 1,
        "DescribeFileSystems": 1,
    }


def test_the_zones_of_a_network_that_names_none_are_aws_s(clients: Clients) -> None:
    raw = {**STACK, "network": {"natGateways": "per-zone"}}
    assert "6 NAT gateways" in shown(situation(clients, raw))
    assert clients.calls["DescribeAvailabilityZones"] == 1
    clients.denied = {"DescribeAvailabilityZones"}
    assert "AWS did not say how many there are" in shown(situation(clients, raw))


def test_equal_followers_are_one_row(clients: Clients) -> None:
    table = shown(situation(clients))
    assert "f0 and 19 more" in table
    assert "20 x g4dn.2xlarge" in table
    # 21 machines of 0.752 and 200 GiB; 100 GiB of data; a gateway with its address.
    hourly = 21 * Decimal("0.752") + Decimal(4300) * Decimal("0.08") / 730 + Decimal("0.05")
    assert f"{hourly:.3f}" in table
    assert f"{hourly * 730:,.2f}" in table


def test_the_difference_is_to_what_runs_of_this_cluster(clients: Clients) -> None:
    ec2 = clients("ec2")
    for cluster, size in ((CLUSTER, 100), ("graphistry-cluster/other", 900)):
        tags = [
            {"ResourceType": "volume", "Tags": [{"Key": CLUSTER_TAG, "Value": cluster}]},
        ]
        ec2.create_volume(
            AvailabilityZone="us-east-1a", Size=size, VolumeType="gp3", TagSpecifications=tags
        )
    machines = tuple(
        RunningMachine(
            instance_id=name,
            instance_type="g5.xlarge",
            zone="us-east-1a",
            market="on-demand",
            name=name,
            cluster=cluster,
        )
        for name, cluster in (("i-1", CLUSTER), ("i-2", "graphistry-cluster/other"))
    )
    found = reckoning(situation(clients, machines=machines)).cost
    assert found.now_usd == Decimal("1.006") + Decimal(8) / 730
    assert "difference" in shown(situation(clients, machines=machines))


def machine_of(instance_type: str, market: str = "on-demand") -> RunningMachine:
    return RunningMachine(
        instance_id="i-1",
        instance_type=instance_type,
        zone="us-east-1a",
        market=market,
        name="",
        cluster=CLUSTER,
    )


def test_what_runs_and_has_no_price_is_named(clients: Clients, file: Path) -> None:
    file.write_text('{"us-east-1": {"g5.xlarge": null}}')
    asked = situation(clients, machines=(machine_of("g5.xlarge"),))
    (row,) = [line for line in shown(asked).splitlines() if line.startswith("runs now")]
    assert row.rstrip().split(maxsplit=4)[2:] == ["?", "?", "no price of g5.xlarge"]
    assert cost_document(reckoning(asked))["runsNow"]["withoutPrice"] == ["g5.xlarge"]


@pytest.mark.parametrize("market", ["spot", "on-demand"])
def test_only_what_is_spot_is_said_to_be(clients: Clients, market: str) -> None:
    told = shown(situation(clients, machines=(machine_of("g5.xlarge", market),)))
    assert ("spot at the on-demand price" in told) is (market == "spot")


def test_the_gateway_of_another_cluster_is_not_ours(clients: Clients) -> None:
    before = reckoning(situation(clients)).cost.now_usd or Decimal(0)
    ec2 = clients("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    for cluster in ("graphistry-cluster/other", CLUSTER):
        tags = [{"Key": CLUSTER_TAG, "Value": cluster}]
        ec2.create_nat_gateway(
            SubnetId=subnet,
            ConnectivityType="private",
            TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}],
        )
    now = reckoning(situation(clients)).cost.now_usd or Decimal(0)
    assert now - before == Decimal("0.05")


@pytest.mark.parametrize("tags", [{}, {CLUSTER_TAG: CLUSTER}])
def test_a_disk_is_found_by_its_machine_and_counted_once(
    clients: Clients, tags: dict[str, str]
) -> None:
    ec2 = clients("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 500, "VolumeType": "gp3"}}
    (made,) = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, BlockDeviceMappings=[disk])[
        "Instances"
    ]
    before = reckoning(situation(clients)).cost.now_usd or Decimal(0)
    (mapping,) = made["BlockDeviceMappings"]
    for key, value in tags.items():
        tag = {"Key": key, "Value": value}
        ec2.create_tags(Resources=[mapping["Ebs"]["VolumeId"]], Tags=[tag])
    machine = RunningMachine(
        instance_id=made["InstanceId"],
        instance_type="g4dn.2xlarge",
        zone="us-east-1a",
        market="on-demand",
        name="",
        cluster=CLUSTER,
    )
    now = reckoning(situation(clients, machines=(machine,))).cost.now_usd or Decimal(0)
    assert f"{now - before:.6f}" == f"{Decimal('0.752') + Decimal(40) / 730:.6f}"


def test_without_the_right_the_programs_prices_are_taken_and_it_is_said(clients: Clients) -> None:
    clients.denied = {"GetProducts"}
    asked = situation(clients, region="eu-west-1")
    with pytest.raises(UnansweredError, match=r"AccessDeniedException.*pricing:GetProducts"):
        price(asked)
    table = shown(asked)
    assert "price of us-east-1" in table
    assert "unknown" not in table
    (row,) = [line for line in table.splitlines() if line.startswith("in all")]
    assert "prices of us-east-1, at most" in row
    document = cost_document(reckoning(asked))
    assert (document["region"], document["pricesOf"]) == ("eu-west-1", "us-east-1")


def test_without_the_right_to_see_what_runs_the_plan_is_shown_all_the_same(
    clients: Clients,
) -> None:
    clients.denied = {"DescribeVolumes"}
    table = shown(situation(clients))
    assert "AWS did not say: AccessDeniedException" in table
    assert "20 x g4dn.2xlarge" in table
    assert "difference" not in table


NO_PRICE: dict[str, Any] = {
    **STACK,
    "gpuProfiles": {"t4": {"instanceTypes": ["p5e.48xlarge"]}},
    "followers": {},
}


def test_a_missing_price_is_told_and_never_zero(clients: Clients) -> None:
    asked = situation(clients, NO_PRICE)
    (remark,) = price(asked)
    assert "no price of p5e.48xlarge (leader)" in remark.text
    table = shown(asked)
    assert "no price of p5e.48xlarge" in table
    assert "without what is unknown" in table


def test_the_vendors_charge_for_its_image_is_named_with_where_it_is_shown(clients: Clients) -> None:
    stack = {**STACK, "image": {"marketplace": True}, "budget": {"monthlyUsd": 20000}}
    asked = situation(clients, stack)
    (remark,) = price(asked)
    assert MARKETPLACE_PAGE in remark.text
    assert "another type" not in remark.text
    assert f"no price of {SOFTWARE}" in shown(asked)
    assert "without what is unknown" in shown(asked)
    problem = refusal(asked)
    assert problem.got.endswith(f"there is no price of {SOFTWARE} (all nodes)")
    assert problem.hint.startswith(f"add what {MARKETPLACE_PAGE} shows by hand; who accepts it")


def test_what_aws_lists_no_more_has_no_price(clients: Clients, file: Path) -> None:
    file.write_text('{"us-east-1": {"g4dn.4xlarge": null, "NAT gateway": null}}')
    asked = situation(clients)
    (remark,) = price(asked)
    assert "g4dn.4xlarge (f0 and 19 more); NAT gateway (network)" in remark.text
    assert "20 x g4dn.2xlarge" in shown(asked)


def test_the_sum_in_one_line_says_at_most_and_what_it_is_without(
    clients: Clients, file: Path
) -> None:
    known = reckoning(situation(clients))
    whole = known.cost
    assert cost_line(known) == (
        f"costs in all {whole.hourly_usd:,.3f} USD an hour, {monthly(whole.hourly_usd):,.2f} a month, "
        f"at most {monthly(whole.highest_usd):,.2f} USD a month"
    )
    file.write_text('{"us-east-1": {"g4dn.4xlarge": null}}')
    assert cost_line(reckoning(situation(clients))).endswith(", without what is unknown")


def test_the_document_for_scripts_adds_up_and_has_no_zero_for_an_unknown_price(
    clients: Clients, file: Path
) -> None:
    whole = cost_document(reckoning(situation(clients)))
    assert whole["complete"]
    assert whole["inAll"]["hourlyUsd"] == pytest.approx(
        sum(part["hourlyUsd"] for part in whole["parts"]), abs=0.01
    )
    assert whole["difference"]["monthlyUsd"] == pytest.approx(
        whole["inAll"]["monthlyUsd"] - whole["runsNow"]["monthlyUsd"], abs=0.01
    )
    file.write_text('{"us-east-1": {"g4dn.4xlarge": null}}')
    clients.denied = {"DescribeVolumes"}
    lacking = cost_document(reckoning(situation(clients)))
    unknown = [part for part in lacking["parts"] if part["withoutPrice"]]
    assert len(unknown) == 20
    assert all(part["atMost"]["monthlyUsd"] is None for part in unknown)
    assert (lacking["complete"], lacking["difference"]["hourlyUsd"]) == (False, None)
    assert lacking["unanswered"] == ["AccessDeniedException"]


def test_a_budget_refuses_what_costs_more(clients: Clients, file: Path) -> None:
    enough = {**STACK, "budget": {"monthlyUsd": 20000}}
    assert budget(situation(clients, enough)) == ()
    file.write_text(json.dumps({"us-east-1": {"g4dn.4xlarge": 50}}))
    problem = refusal(situation(clients, enough))
    assert problem.path == "budget.monthlyUsd"
    assert budget(situation(clients)) == ()


def refusal(asked: Situation) -> Problem:
    """Why a budget keeps a deployment from starting."""
    (problem,) = budget(asked)
    assert isinstance(problem, Problem)
    return problem


def test_a_budget_refuses_what_has_no_known_price(clients: Clients) -> None:
    problem = refusal(situation(clients, {**NO_PRICE, "budget": {"monthlyUsd": 20000}}))
    assert problem.path == "budget.monthlyUsd"
    assert "20,000.00, and what is known costs up to " in problem.got
    assert problem.got.endswith(" USD a month, and there is no price of p5e.48xlarge (leader)")
    assert problem.allowed == "a plan whose every part has a price"
    assert "preflight: {skip: [budget]}" in problem.hint
    dear = refusal(situation(clients, {**NO_PRICE, "budget": {"monthlyUsd": 1}}))
    assert "and the stack costs up to" in dear.got


def test_a_budget_is_not_judged_by_the_prices_of_another_region(clients: Clients) -> None:
    clients.denied = {"GetProducts"}
    limited = {**STACK, "budget": {"monthlyUsd": 20000}}
    problem = refusal(situation(clients, limited, region="eu-west-1"))
    assert "no price of anything in eu-west-1" in problem.got
    assert "AccessDeniedException" in problem.got
    assert "the right pricing:GetProducts" in problem.hint
    assert "preflight: {skip: [budget]}" in problem.hint
    assert budget(situation(clients, limited)) == ()


@pytest.mark.parametrize(
    ("monthly_usd", "region", "words", "kept"),
    [
        (40000, "us-east-1", "kept", True),
        (2000, "us-east-1", "exceeded: the stack may cost", False),
        (2000, "eu-west-1", "cannot be judged", None),
    ],
)
def test_the_budget_is_shown_below_the_sum(
    clients: Clients, monthly_usd: int, region: str, words: str, kept: bool | None
) -> None:
    if region != "us-east-1":
        clients.denied = {"GetProducts"}
    raw = {**STACK, "budget": {"monthlyUsd": monthly_usd}}
    asked = situation(clients, raw, region=region)
    (row,) = [line for line in shown(asked).splitlines() if line.startswith("budget")]
    assert f"{monthly_usd:,}.00" in row
    assert words in row
    document = cost_document(reckoning(asked))
    assert document["budget"] == {"monthlyUsd": monthly_usd, "kept": kept}


def test_a_stack_without_a_budget_shows_none(clients: Clients) -> None:
    assert "budget" not in shown(situation(clients))
    assert cost_document(reckoning(situation(clients)))["budget"] is None


def test_an_alarm_that_would_see_nothing_says_what_to_type_and_then_passes(
    clients: Clients,
) -> None:
    limit = {"monthlyUsd": 20000, "alarmEmails": ["ops@example.com"]}
    watched = situation(clients, {**STACK, "budget": limit})
    (remark,) = budget(watched)
    assert isinstance(remark, Remark)
    assert ACTIVATE in remark.text
    *_, said = ACTIVATE.split()
    status = dict(word.split("=") for word in said.split(","))
    clients("ce").update_cost_allocation_tags_status(CostAllocationTagsStatus=[status])
    assert budget(watched) == ()


def test_a_spot_machine_is_priced_in_the_zone_where_it_is_cheapest_now(clients: Clients) -> None:
    price_list.mend_spot(Path("none.json"))
    follower = {"profile": "t4", "market": "spot"}
    told = shown(situation(clients, {**STACK, "followers": {"cheap": follower}}))
    (row,) = [line for line in told.splitlines() if line.startswith("cheap") and "g4dn" in line]
    assert "0.263" in row  # 35 % of 0.752
    assert "spot now in us-east-1" in row
