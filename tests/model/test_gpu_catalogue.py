"""The catalogue: what EC2 says, and for every GPU type either a place in it or a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError
from typer.testing import CliRunner, Result

from model.gpu_catalogue import (
    CATALOGUE,
    CATALOGUE_FILE,
    COMPUTE_CAPABILITY,
    UNSUPPORTED,
    read_catalogue,
)
from model.settings.checks import catalogued
from tests.harness import ROOT
from tools import generate_gpu_catalogue
from tools.generate_gpu_catalogue import app, write_catalogue

T4 = CATALOGUE["g4dn.xlarge"]


def generate(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_every_gpu_type_is_either_usable_or_refused_with_a_reason() -> None:
    assert set(CATALOGUE) | set(UNSUPPORTED) == set(read_catalogue())
    assert not set(CATALOGUE) & set(UNSUPPORTED)
    assert all(each.architecture == "x86_64" and each.gpus >= 1 for each in CATALOGUE.values())


def test_every_usable_type_encrypts_what_it_says_to_other_nodes_as_the_documentation_says() -> None:
    assert all(each.encrypts_traffic for each in CATALOGUE.values())
    assert not read_catalogue()["g5g.xlarge"].encrypts_traffic
    families = {name.partition(".")[0] for name in CATALOGUE}
    text = (ROOT / "docs" / "explanation" / "security.md").read_text().replace("\n", " ")
    told = text.partition("all sizes of ")[2].partition(". ")[0].replace(" and ", ", ")
    assert set(told.split(", ")) == families


@pytest.mark.parametrize(
    ("name", "reason"),
    [("g5g.xlarge", "an ARM processor"), ("g6f.xlarge", "a share of one L4 (3 GiB)")],
)
def test_the_reason_says_what_is_missing(name: str, reason: str) -> None:
    assert reason in UNSUPPORTED[name]


@pytest.mark.parametrize(
    ("name", "gpus", "gpu"),
    [
        ("g4dn.12xlarge", 4, "T4"),
        ("g4dn.16xlarge", 1, "T4"),
        ("g6e.12xlarge", 4, "L40S"),
        ("p5.48xlarge", 8, "H100"),
    ],
)
def test_sizes_that_are_easily_confused(name: str, gpus: int, gpu: str) -> None:
    assert (CATALOGUE[name].gpus, CATALOGUE[name].gpu_name) == (gpus, gpu)


@pytest.mark.parametrize(
    ("got", "meant"),
    [("g4nd.2xlarge", "g4dn.2xlarge"), ("G5.xlarge", "g5.xlarge"), ("g6.12xlrage", "g6.12xlarge")],
)
def test_a_misspelt_type_is_recognized(got: str, meant: str) -> None:
    with pytest.raises(PydanticCustomError, match=f'did you mean "{meant}"'):
        catalogued(got)


@pytest.mark.parametrize("name", ["p3.8xlarge", "m5.2xlarge", "g4ad.4xlarge"])
def test_another_family_is_no_misspelling_of_a_dearer_one(name: str) -> None:
    with pytest.raises(PydanticCustomError, match=r"^AWS listed no NVIDIA GPU under this name"):
        catalogued(name)


def test_every_gpu_has_a_compute_capability_that_rapids_supports() -> None:
    assert {each.gpu_name for each in read_catalogue().values()} <= set(COMPUTE_CAPABILITY)
    assert all(each.compute_capability >= (7, 0) for each in CATALOGUE.values())


def test_writing_and_reading_the_file_changes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "catalogue.csv"
    write_catalogue(read_catalogue().values(), copy)
    assert copy.read_bytes() == CATALOGUE_FILE.read_bytes()


def test_the_command_says_what_came_and_what_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "catalogue.csv"
    write_catalogue([T4], output)
    new = replace(T4, name="g9.xlarge")
    monkeypatch.setattr(generate_gpu_catalogue, "_types_of", lambda _region: [new])
    monkeypatch.setattr(generate_gpu_catalogue, "list_prices", lambda *_: {"g9.xlarge": T4.price})
    prices = tmp_path / "prices.csv"
    result = generate(
        "--region", "eu-west-1", "--output", str(output), "--prices-output", str(prices)
    )
    assert result.exit_code == 0
    assert "new: g9.xlarge" in result.output
    assert "gone: g4dn.xlarge" in result.output
    assert read_catalogue(output) == {"g9.xlarge": new}


def test_a_gpu_never_seen_before_stops_the_refresh_and_keeps_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "catalogue.csv"
    new = replace(T4, gpu_name="X1")
    monkeypatch.setattr(generate_gpu_catalogue, "_types_of", lambda _region: [new])
    result = generate("--output", str(output))
    assert result.exit_code == 1
    assert "new GPU: X1. Add its compute capability" in result.output
    assert not output.exists()


def test_aws_out_of_reach_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    result = generate("--output", str(tmp_path / "catalogue.csv"))
    assert result.exit_code == 1
    assert (
        "AWS did not list its instance types or their prices: Unable to locate credentials"
        in result.output
    )
