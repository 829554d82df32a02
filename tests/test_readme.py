"""The README's tables against the code they describe."""

import re
from typing import Any

import yaml

from model.tags import OWN_TAGS
from operate.__main__ import COMMANDS
from tests.conftest import Deploy, deployed
from tests.harness import ROOT

README = (ROOT / "README.md").read_text()


def table(heading: str) -> dict[str, str]:
    """First column to second of the first table under a heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", section, flags=re.MULTILINE)
    return {first.strip("`"): second for first, second in rows[1:] if not first.startswith("-")}


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    return loaded


def test_the_configuration_table_is_the_schema() -> None:
    schema = {
        key.removeprefix("graphistry-cluster:"): value["description"]
        for key, value in project()["config"].items()
        if key.startswith("graphistry-cluster:")
    }
    assert table("Configuration") == schema
    assert f"at most {OWN_TAGS}" in schema["tags"]


def test_required_keys_are_those_without_a_default() -> None:
    section = README.split("\n## Configuration\n", 1)[1].split("\n## ", 1)[0]
    required = set(re.findall(r"^\| `(\w+)` .*\| required \|$", section, flags=re.MULTILINE))
    config = project()["config"]
    assert required == {
        key.partition(":")[2]
        for key, value in config.items()
        if key.startswith("graphistry-cluster:") and "default" not in value
    }


def test_the_outputs_table_is_what_the_program_exports() -> None:
    logged = deployed(shells={"logged": True})
    assert set(table("Outputs")) == deployed().exports | logged.exports


def test_every_command_is_in_the_table() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {f"make {name}" for name in re.findall(r"^([\w-]+):.*## ", makefile, re.MULTILINE)}
    own = {f"./cluster {name}" for name in COMMANDS}
    assert set(table("Commands")) == (targets | own) - {"make help", "make up", "make down"}


def test_every_requirement_has_a_reason() -> None:
    named = set(re.findall(r"`([\w.*-]+)`", " ".join(table_rows("Dependencies"))))
    for file in ROOT.glob("requirements*.txt"):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                package = re.split(r"[\[>=<]", line)[0].lower()
                assert package in named or package.startswith("types-"), package


def test_every_requirement_has_a_floor_and_a_ceiling() -> None:
    for file in ROOT.glob("requirements*.txt"):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                assert re.fullmatch(r"[\w.\[\],-]+>=[\d.]+,<[\d.]+", line), line


def table_rows(heading: str) -> list[str]:
    section = README.split(f"\n## {heading}\n", 1)[1]
    return [line for line in section.splitlines() if line.startswith("|")]


def test_the_picture_shows_every_component_of_the_cluster(deploy_stack: Deploy) -> None:
    shown = set(re.findall(r"(\w+)", README.split("```text\n", 1)[1].split("```", 1)[0]))
    followers = {"one": {"profile": "t4", "market": "spot"}}
    for each in deploy_stack(followers=followers):
        if not each.custom:
            assert each.type.rsplit(":", 1)[-1] in shown, each.type


def test_every_file_the_readme_names_exists() -> None:
    for name in re.findall(r"`([\w/]+/[\w.]+\.(?:py|yaml))`|\]\((docs[\w/.]*)\)", README):
        path = name[0] or name[1]
        assert (ROOT / path).exists(), path


def test_every_test_that_the_documents_name_exists() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for each in documents for name in re.findall(r"`(test_\w+)`", each.read_text())}
    files = list((ROOT / "tests").rglob("*.py"))
    there = {name for each in files for name in re.findall(r"def (test_\w+)", each.read_text())}
    assert len(named) > 20
    assert named - there - {each.stem for each in files} == set()


def test_the_required_engine_is_the_one_that_is_made() -> None:
    from operate.stack.engine.locate import VERSION, dotted

    assert project()["requiredPulumiVersion"] == f">={dotted(VERSION)}"


def test_the_faults_are_counted() -> None:
    # Those that are imported are tried again, on the other site.
    aws, hosts = (
        sum(
            len(re.findall(r"^(?:def |    )test_\w+[,(]", file.read_text(), re.MULTILINE))
            for file in (ROOT / "tests" / "cluster" / site).glob("test_faults*.py")
        )
        for site in ("aws", "hosts")
    )
    assert f"survived {aws} of {aws} on AWS and {hosts} of {hosts} on hosts" in README
