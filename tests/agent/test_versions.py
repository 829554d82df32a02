"""Versions as real programs and packages print them."""

import pytest

from agent.machine.versions import is_at_least
from agent.supported import driver_verdict, knows_override

OVERRIDE = [
    # docker compose version --short, of Docker's, Ubuntu's, Debian's, Amazon's, Azure's and Docker Desktop's packages
    ("2.24.4", True),
    ("v2.24.4", True),
    ("2.24.6+ds1-0ubuntu1~22.04.1", True),
    ("2.24.6+ds1-0ubuntu2", True),
    ("2.37.1+ds1-0ubuntu2~24.04.1", True),
    ("2.26.1-4", True),
    ("v2.39.1-desktop.1", True),
    ("2.40.3+azure-ubuntu24.04u1", True),
    ("5.0.1", True),
    ("v5.0.0-rc.2", True),
    ("2.24.10", True),
    ("2.24.5-rc.1", True),
    ("2.24.4-rc.1", False),
    ("v2.24.4~rc1", False),
    ("2.24.4-beta.2", False),
    ("2.20.2+ds1-0ubuntu1~22.04.1", False),
    ("2.24.3+ds1-0ubuntu9", False),
    ("v2.3.3", False),
    ("2.5.0+ds1-1", False),
    ("1.29.2", False),
    ("dev", False),
    ("unknown", False),
    ("", False),
]
DRIVERS = [
    # nvidia-smi and packages of Ubuntu and NVIDIA
    ("575.51.03", "12", True),
    ("575.57.08-0ubuntu0.24.04.2", "12", True),
    ("580.126.20", "13", False),
    ("590.44.01", "13", True),
    ("595.58.03-server", "13", True),
    ("550.54.15-server", "12", False),
    ("570.86.15", "12", True),
    ("570.0", "12", True),
    ("569.99", "12", False),
    ("", "12", False),
    ("[N/A]", "12", False),
]


@pytest.mark.parametrize(("version", "expected"), OVERRIDE)
def test_composes_that_know_override(version: str, expected: bool) -> None:
    assert knows_override(version) is expected


@pytest.mark.parametrize(("version", "cuda", "expected"), DRIVERS)
def test_drivers_that_run_a_flavour(version: str, cuda: str, expected: bool) -> None:
    assert driver_verdict(version, cuda)[0] is expected


@pytest.mark.parametrize(
    ("version", "needed", "expected"),
    [
        # docker version, and Docker's own packages with an epoch
        ("20.10.25+dfsg1", "20.10.25", True),
        ("5:27.3.1-1~ubuntu.22.04~jammy", "27.3", True),
        ("5:27.3.1-1~ubuntu.22.04~jammy", "28", False),
        ("25.0.6-1.amzn2023.0.2", "25.0.6", True),
        ("26.1.5+dfsg1-9+b9", "26.1.6", False),
        ("28.0.0-rc.1", "28.0.0", False),
        ("28.0.0~rc1", "28", False),
        ("24.0.7-0ubuntu4.1", "24.0.7", True),
        ("6.8.0-1021-azure", "6.8", True),
        ("Docker Compose version v2.24.6", "2.24.4", True),
        ("1.0", "1.0.0", True),
        ("1.0.0", "1.0", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, needed: str, expected: bool) -> None:
    assert is_at_least(version, needed) is expected


def test_what_is_needed_is_a_version() -> None:
    with pytest.raises(ValueError, match="'none' is no version"):
        is_at_least("1.0", "none")
