"""The run of all checks: what each ending is called, and that none of them hides or stops another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, get_args

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import preflight
from model.problems import Problem
from model.settings.aws import CheckName
from preflight import PreflightError, Report, run
from preflight.parts import unanswered
from preflight.situation import (
    Finding,
    Remark,
    Situation,
    UnansweredError,
    situation_of,
)
from preflight.table import could_not_run, report_table
from tests.preflight.situations import situation

PROBLEM = Problem("leader", "40 vCPUs", "8 vCPUs", "ask AWS")
RAW: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
    "leader": {"profile": "t4"},
}


def refused(code: str, message: str = "no", operation: str = "GetServiceQuota") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def check(ending: Any = ()) -> Callable[[Situation], tuple[Finding, ...]]:
    """A check that ends so."""

    def end(_: Situation) -> tuple[Finding, ...]:
        if isinstance(ending, Exception):
            raise ending
        found: tuple[Finding, ...] = ending
        return found

    return end


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """A run of checks that end as told; the others pass."""

    def with_endings(
        first: Any = (), skipped: tuple[CheckName, ...] = (), **endings: Any
    ) -> Report:
        checks = {name: check(ending) for name, ending in endings.items()}
        monkeypatch.setattr(preflight, "FIRST", {"credentials": check(first)})
        monkeypatch.setattr(preflight, "CHECKS", checks)
        return run(situation(RAW), skipped)

    return with_endings


def results(report: Report) -> dict[str, str]:
    return {each.check: each.result for each in report.outcomes}


def test_every_ending_is_an_outcome_of_its_own(made: Callable[..., Report]) -> None:
    report = made(
        quota=(PROBLEM,), price=UnansweredError("no prices"), image=refused("Throttling"), budget=()
    )
    assert results(report) == {
        "credentials": "passed",
        "quota": "failed",
        "price": "could not run",
        "image": "could not run",
        "budget": "passed",
    }
    assert report.problems == (PROBLEM,)


def test_a_check_that_only_remarks_has_passed_and_is_heard(made: Callable[..., Report]) -> None:
    remarks = (Remark("no driver is told"), Remark("it is old"))
    report = made(image=remarks, quota=(PROBLEM, Remark("asked for")))
    assert results(report) == {"credentials": "passed", "image": "passed", "quota": "failed"}
    assert report.problems == (PROBLEM,)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(report_table(report))
    _, _, image, quota = map(str.strip, shown.get().splitlines())
    assert image.split(maxsplit=2) == ["image", "passed", "no driver is told. it is old"]
    assert quota.split(maxsplit=2) == ["quota", "failed", "1 problem, below. asked for"]


def test_a_check_that_could_not_run_stops_nothing(made: Callable[..., Report]) -> None:
    report = made(quota=refused("AccessDeniedException"))
    assert report.problems == ()
    assert report.outcomes[1].unanswered


def test_what_could_not_run_is_told_once_more_in_one_line(made: Callable[..., Report]) -> None:
    report = made(quota=UnansweredError("no right"), price=UnansweredError("no prices"), image=())
    assert could_not_run(report) == "could not run: quota (no right); price (no prices)"
    assert could_not_run(made(image=(Remark("old"),), quota=(PROBLEM,))) == ""


def test_a_check_that_is_switched_off_is_not_made(made: Callable[..., Report]) -> None:
    report = made(skipped=("quota",), quota=AssertionError("made"), image=())
    assert results(report)["quota"] == "switched off"


def test_nothing_is_asked_of_an_aws_that_does_not_answer(made: Callable[..., Report]) -> None:
    report = made(first=(PROBLEM,), skipped=("image",), quota=AssertionError("made"), image=())
    assert results(report) == {
        "credentials": "failed",
        "quota": "could not run",
        "image": "switched off",
    }


def test_a_mistake_in_a_check_is_not_hidden(made: Callable[..., Report]) -> None:
    with pytest.raises(KeyError):
        made(quota=KeyError("mistake"))


def test_checks_are_made_side_by_side(
    made: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(_: Situation) -> tuple[Problem, ...]:
        meeting.wait()
        return ()

    monkeypatch.setattr(preflight, "FIRST", {"clock": check()})
    monkeypatch.setattr(preflight, "CHECKS", {"quota": meet, "image": meet})
    assert run(situation(RAW), ()).checks("passed") == ["clock", "quota", "image"]


def test_a_check_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def hang(_: Situation) -> tuple[Problem, ...]:
        end.wait()
        return ()

    monkeypatch.setattr(preflight, "FIRST", {"clock": check()})
    monkeypatch.setattr(preflight, "CHECKS", {"quota": hang, "image": check()})
    monkeypatch.setattr(preflight, "RUN_SECONDS", 0.2)
    report = run(situation(RAW), ())
    end.set()
    assert results(report) == {"clock": "passed", "quota": "could not run", "image": "passed"}
    assert "no answer of AWS within" in report.outcomes[1].unanswered


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            refused("AccessDeniedException", "User: arn is not authorized to perform: a-b:GetX on"),
            "the right a-b:GetX is missing",
        ),
        (refused("UnauthorizedOperation", "no"), "the right GetServiceQuota is missing"),
        (refused("RequestLimitExceeded"), "AWS throttles GetServiceQuota, 4 times in a row"),
        (refused("ThrottlingException"), "try again in a minute"),
        (refused("InternalFailure", "oops"), "GetServiceQuota failed (InternalFailure): oops"),
        (EndpointConnectionError(endpoint_url="https://nowhere"), "AWS was not reached"),
    ],
)
def test_why_aws_did_not_answer_is_told_with_what_would_help(error: Any, says: str) -> None:
    assert says in unanswered(error)


def test_all_problems_are_told_at_once_and_what_may_be_switched_off(
    made: Callable[..., Report],
) -> None:
    text = str(PreflightError(made(quota=(PROBLEM, PROBLEM), image=(PROBLEM,))))
    assert text.startswith("3 problems on the way to this deployment:\n\n  1. leader\n")
    assert "\n\n  3. leader\n" in text
    assert "preflight: {skip: [quota, image]}" in text


def test_nobody_is_told_to_switch_off_credentials(made: Callable[..., Report]) -> None:
    text = str(PreflightError(made(first=(PROBLEM,))))
    assert text.endswith("Nothing was changed.")


def test_every_check_can_be_named_in_a_stack_file() -> None:
    assert {*preflight.FIRST, *preflight.CHECKS} <= set(get_args(CheckName))


@given(st.text(min_size=1, max_size=60))
def test_words_of_aws_do_not_become_markup(words: str) -> None:
    outcome = preflight.Outcome(check="quota", unanswered=f"[red]{words}")
    console = Console(width=200)
    with console.capture() as shown:
        console.print(report_table(Report(outcomes=(outcome,))))
    assert "[red]" in shown.get()


def test_what_runs_is_asked_once_whoever_asks_and_so_is_an_error() -> None:
    asked = []

    class Ec2:
        def get_paginator(self, name: str) -> Any:
            asked.append(name)
            raise refused("RequestLimitExceeded")

    made = situation_of(situation(RAW).settings, "us-east-1", "p/s", lambda *_: Ec2(), None)
    for _ in range(2):
        with pytest.raises(ClientError):
            made.machines()
    assert asked == ["describe_instances"]
