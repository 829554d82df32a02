"""What the check of the credentials says of a shell that leads to no AWS: it fails, and what follows is not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.parsers import ResponseParserError

from preflight import run
from preflight.credentials import credentials
from tests.preflight.situations import situation

RAW: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
    "leader": {"profile": "t4"},
}


class NotAws:
    """What answers in AWS's place: a proxy's page, an address that is none."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_caller_identity(self) -> None:
        raise self.error


@pytest.fixture(autouse=True)
def no_earlier_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's default session reads the configuration once, so one of an earlier test would hide this test's."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def test_a_profile_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    (problem,) = credentials(situation(RAW, clients=boto3.client))
    assert problem.got == "The config profile (nope) could not be found"
    assert "`aws configure`" in problem.hint


def test_a_configuration_that_is_none_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("garbage\n[x")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (problem,) = credentials(situation(RAW, clients=boto3.client))
    assert problem.got == f"Unable to parse config file: {tmp_path / 'config'}"


@pytest.mark.parametrize(
    ("error", "got"),
    [
        (ResponseParserError("<html>sign in</html>"), "no answer of AWS's, from where"),
        (ValueError("Invalid endpoint: garbage"), "Invalid endpoint: garbage, from where"),
    ],
)
def test_an_answer_that_is_not_of_aws_is_a_failure_and_no_traceback(
    error: Exception, got: str
) -> None:
    report = run(situation(RAW, client=NotAws(error)), ())
    assert report.checks("failed") == ["credentials"]
    (problem,) = report.problems
    assert problem.got.startswith(got)
    assert "AWS_ENDPOINT_URL" in problem.hint
