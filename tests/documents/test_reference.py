"""The reference pages against the code that they describe."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
import yaml

from agent.converge import PHASES
from model.settings.read import keys_of_any_site
from model.settings.stack_keys import DELETE_DATA
from model.tags import OWN_TAGS
from operate.__main__ import COMMANDS
from tests.conftest import Deploy, deployed
from tests.harness import ROOT
from tools import generate_commands, generate_configuration

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def table(text: str) -> dict[str, str]:
    """First column to second of the first table of a page."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", text.split("\n## ", 1)[0], flags=re.MULTILINE)
    return {first.strip("`"): second for first, second in rows[1:] if not first.startswith("-")}


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    return loaded


@pytest.mark.parametrize("generator", [generate_commands, generate_configuration])
def test_a_generated_page_is_current(generator: ModuleType) -> None:
    current = generator.PAGE.read_text() == generator.page()
    assert current, f"run .venv/bin/python -m {generator.__name__}"


def test_the_configuration_lists_every_key() -> None:
    listed = table((REFERENCE / "configuration.md").read_text())
    assert set(listed) == keys_of_any_site() | {DELETE_DATA}
    assert f"at most {OWN_TAGS}" in listed["tags"]


def test_a_key_is_required_if_it_has_no_default() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    required = set(re.findall(r"^\| `(\w+)` .*\| required \|$", text, flags=re.MULTILINE))
    assert required == {
        key.partition(":")[2]
        for key, value in project()["config"].items()
        if key.startswith("graphistry-cluster:") and "default" not in value
    }


def test_the_configuration_speaks_of_keys_and_not_of_code() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    assert re.findall(r"`model\.[\w.]+`|`[a-z]+_[a-z_]+`|`[A-Z][a-z]+[A-Z]\w+`", text) == []


def test_every_command_has_a_heading() -> None:
    headings = re.findall(r"^## (\S+)$", (REFERENCE / "commands.md").read_text(), re.MULTILINE)
    assert headings == [*COMMANDS, "make"]
    assert set(generate_commands.MORE) <= set(COMMANDS)


def test_the_outputs_are_what_the_program_exports() -> None:
    logged = deployed(shells={"logged": True})
    outputs = table((REFERENCE / "outputs.md").read_text())
    assert set(outputs) == deployed().exports | logged.exports


def test_every_requirement_has_a_reason() -> None:
    text = (REFERENCE / "dependencies.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`([\w.*-]+)`", " ".join(rows)))
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


def test_the_required_engine_is_the_one_that_is_made() -> None:
    from operate.stack.engine.locate import VERSION, dotted

    assert project()["requiredPulumiVersion"] == f">={dotted(VERSION)}"


def test_the_tree_shows_every_component_of_the_cluster(deploy_stack: Deploy) -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text()
    shown = set(re.findall(r"(\w+)", text.split("```text\n", 1)[1].split("```", 1)[0]))
    followers = {"one": {"profile": "t4", "market": "spot"}}
    for each in deploy_stack(followers=followers):
        if not each.custom:
            assert each.type.rsplit(":", 1)[-1] in shown, each.type


def test_the_architecture_has_the_phases_in_their_order() -> None:
    text = " ".join((DOCS / "explanation" / "architecture.md").read_text().split())
    named = text.split("runs the phases: ", 1)[1].split(".", 1)[0].split(", ")
    assert named == [name.replace("sharedFolder", "shared folder") for name, _ in PHASES]


def test_the_architecture_has_a_line_for_every_room() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text()
    rooms = {
        str(file.parent.relative_to(ROOT))
        for top in ("agent", "operate", "preflight", "model", "components", "sandbox")
        for file in (ROOT / top).rglob("__init__.py")
    }
    listed = text.split("| room |", 1)[1]
    assert set(re.findall(r"^\| `([\w/]+)` \|", listed, re.MULTILINE)) == rooms
