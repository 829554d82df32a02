"""The breaker: who may ask for another machine, and what the others see of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent import bootstrap, replacement, report
from agent.gpu import gpu_care
from agent.node import Node
from agent.replacement import held_by
from agent.sites import aws
from agent.sites.aws_site import AwsSite
from agent.sites.bucket_asks import BucketAsks
from agent.wishes import Ask
from model.specification import replacement_key

from .conftest import BUCKET, REGION, Machine
from .fakes import FakeMachine

NOW = 1_000_000.0
SCHEMA = json.loads(Path(report.__file__).with_name("node_report.schema.json").read_text())


def wish(node: str, since: float = 0, *, asked: bool = False, is_open: bool = True) -> Ask:
    since += NOW
    return Ask(node, f"i-{node}", "GpuMissing", since, is_open, (since,) if asked else ())


def followers(count: int) -> list[str]:
    return [f"f{index}" for index in range(count)]


@pytest.mark.parametrize(("count", "most"), [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (25, 5)])
def test_a_fifth_may_ask_and_one_of_few(count: int, most: int) -> None:
    names = followers(count)
    for others in range(count):
        asking = [wish(name, index, asked=True) for index, name in enumerate(names[:others])]
        mine = wish(names[-1], count)
        held = held_by(names, [*asking, mine], names[-1], NOW + count)
        assert (held is None) == (others < most)
        assert held is None or held == names[:others]


def test_of_several_that_wait_the_oldest_is_next_and_who_asked_is_before_all() -> None:
    names = ["a", "b", "c"]
    waiting = [wish("a", 5), wish("b", 3), wish("c", 1)]
    assert held_by(names, waiting, "c", NOW + 9) is None
    assert held_by(names, waiting, "b", NOW + 9) == ["c"]
    # Its clock is behind, and "a" has asked already.
    assert held_by(names, [wish("a", 5, asked=True), wish("c", 1)], "c", NOW + 9) == ["a"]


def test_two_of_the_same_moment_agree_on_who_goes_first() -> None:
    both = [wish("a"), wish("b")]
    assert held_by(["a", "b"], both, "a", NOW) is None
    assert held_by(["a", "b"], both, "b", NOW) == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        wish("gone", asked=True),
        wish("b", asked=True, is_open=False),
        wish("b", -replacement.WEEK_SECONDS - 1, asked=True),
    ],
)
def test_what_is_over_holds_nobody_up(other: Ask) -> None:
    assert held_by(["a", "b"], [other, wish("a")], "a", NOW) is None


def test_whose_own_wish_is_not_seen_does_not_ask() -> None:
    assert held_by(["a", "b"], [], "a", NOW) == []


MakeNode = Callable[..., Node]


@pytest.fixture
def follower(make_node: MakeNode) -> Node:
    return make_node("follower")


def store(node: Node) -> Any:
    return node.store  # type: ignore[attr-defined]


def test_a_second_follower_is_held_says_so_and_how_to_go_on(follower: Node) -> None:
    store(follower).followers = ["small", "large"]
    other = Ask("large", "i-2", "GpuMissing", time.time() - 60, True, (time.time() - 60,))
    store(follower).wishes["large"] = other
    answer = replacement.ask(follower, "GpuMissing")
    assert not answer.is_asked
    assert "1 of 2 followers may ask at a time, and large did" in answer.words
    assert "forget large" in (answer.hint or "")
    assert store(follower).unhealthy == []
    document = follower.report.document
    assert document["replacement"] == {"state": "held", "reason": answer.words}
    jsonschema.validate(document, SCHEMA)
    # It waits in the queue, and goes on as soon as the other one is ready again.
    assert store(follower).wishes["small"].is_open
    store(follower).wishes["large"] = Ask("large", "i-2", "", other.since, False, other.asked)
    assert replacement.ask(follower, "GpuMissing").is_asked
    assert store(follower).unhealthy == ["i-1"]
    assert store(follower).wishes["small"].has_asked


def test_being_ready_again_ends_the_wish(follower: Node) -> None:
    replacement.ask(follower, "GpuMissing")
    gpu_care.well(follower)
    ended = store(follower).wishes["small"]
    assert not ended.is_open
    assert len(ended.asked) == 1
    assert follower.report.document["replacement"] is None


def test_after_five_in_seven_days_a_person_decides(follower: Node) -> None:
    now = time.time()
    for days in range(5):
        asked = tuple(now - 86400 * each for each in range(days + 1, 0, -1))
        store(follower).wishes["small"] = Ask("small", "i-0", "GpuMissing", 0.0, False, asked)
    answer = replacement.ask(follower, "GpuMissing")
    assert not answer.is_asked
    assert "5 in 7 days" in answer.words
    assert "forget small" in (answer.hint or "")
    assert store(follower).unhealthy == []


def test_who_cannot_look_does_not_ask(follower: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise aws.AwsError("AccessDenied", "no")

    monkeypatch.setattr(store(follower), "all", refuse)
    answer = replacement.ask(follower, "GpuMissing")
    assert not answer.is_asked
    assert "AccessDenied" in answer.words
    assert store(follower).unhealthy == []


def test_a_refusal_of_the_group_counts_once(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise aws.AwsError("Throttling", "later")

    monkeypatch.setattr("agent.sites.aws.mark_unhealthy", refuse)
    for _ in range(7):
        assert not replacement.ask(follower, "GpuMissing").is_asked
    assert len(store(follower).wishes["small"].asked) == 1


def test_nobody_brings_a_host(fake: FakeMachine, make_host: MakeNode) -> None:
    del fake
    assert not replacement.ask(make_host("follower"), "GpuMissing").is_asked


@pytest.fixture
def asks(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> BucketAsks:
    """The wishes in a bucket of moto's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", machine.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setattr(
        bootstrap, "METADATA", machine.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    )
    return AwsSite(REGION, BUCKET, "nodes/small/").asks()


def test_wishes_are_kept_in_the_bucket(machine: Machine, asks: BucketAsks) -> None:
    for node in ("leader", "small", "large"):
        for name in ("specification.json", "report.json"):
            machine.s3.put_object(Bucket=BUCKET, Key=f"nodes/{node}/{name}", Body=b"{}")
    machine.s3.put_object(Bucket=BUCKET, Key="nodes/removed/report.json", Body=b"{}")
    assert asks.of("small") is None
    assert asks.all() == (["large", "small"], [])
    mine = Ask("small", "i-1", "GpuMissing", 5.0, True, (6.0,))
    asks.write(mine)
    machine.s3.get_object(Bucket=BUCKET, Key=replacement_key("small"))
    assert asks.of("small") == mine
    assert asks.all() == (["large", "small"], [mine])
    assert asks.forget("small") == f"aws s3 rm s3://{BUCKET}/{replacement_key('small')}"


class Pages:
    """S3's answers to a listing, a page each."""

    region = REGION

    def __init__(self) -> None:
        self.asked: list[str] = []

    def call(self, _service: str, _method: str, url: str) -> bytes:
        self.asked.append(url)
        number = len(self.asked)
        more = "<NextContinuationToken>a+b/c=</NextContinuationToken>" if number < 3 else ""
        return f"<Contents><Key>nodes/f{number}/specification.json</Key></Contents>{more}".encode()


def test_a_listing_of_many_nodes_is_read_to_its_end() -> None:
    pages = Pages()
    asks = BucketAsks(pages, aws.Bucket(pages, "b"))  # type: ignore[arg-type]
    assert asks.all() == (["f1", "f2", "f3"], [])
    assert pages.asked[2].endswith("/?continuation-token=a%2Bb%2Fc%3D&list-type=2&prefix=nodes%2F")
