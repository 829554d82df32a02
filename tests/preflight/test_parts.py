"""Parts of one check: what AWS does not answer one of them hides nothing of another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

import preflight
from model.problems import Problem
from preflight import run
from preflight.parts import together
from preflight.situation import Finding, Remark, Situation, UnansweredError
from tests.model.examples import SMALLEST
from tests.preflight.situations import situation

PROBLEM = Problem("network.vpcId", "one", "another")


def finds(*findings: Finding) -> Any:
    return lambda _: iter(findings)


def denied(_: Situation) -> Iterator[Finding]:
    message = "User is not authorized to perform: ec2:DescribeRouteTables"
    error = {"Error": {"Code": "UnauthorizedOperation", "Message": message}}
    raise ClientError(error, "DescribeRouteTables")
    yield


def silent(_: Situation) -> Iterator[Finding]:
    raise UnansweredError("nobody knows")
    yield


def outcome(monkeypatch: pytest.MonkeyPatch, *parts: Any) -> preflight.Outcome:
    monkeypatch.setattr(preflight, "FIRST", {"clock": finds()})
    monkeypatch.setattr(preflight, "CHECKS", {"references": lambda made: together(made, parts)})
    return run(situation(SMALLEST, client=object()), ()).outcomes[-1]


def test_problems_and_remarks_are_told_beside_what_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = outcome(monkeypatch, finds(PROBLEM), denied, finds(Remark("by the way")), silent)
    assert (found.result, found.problems, found.remark) == ("failed", (PROBLEM,), "by the way")
    assert "the right ec2:DescribeRouteTables is missing" in found.unanswered
    assert found.unanswered.endswith("; nobody knows")


def test_a_check_of_which_a_part_could_not_run_has_not_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert outcome(monkeypatch, finds(), silent).result == "could not run"
    assert outcome(monkeypatch, finds(), finds(Remark("so"))).result == "passed"


def test_a_permission_that_parts_lack_alike_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, denied, denied).unanswered.count("DescribeRouteTables") == 1


def test_parts_are_made_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def waits(_: Situation) -> Iterator[Finding]:
        both.wait()
        yield Remark("met")

    found = together(situation(SMALLEST, client=object()), (waits, waits))
    assert len(found) == 2
