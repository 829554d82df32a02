"""The release that `./cluster publish` writes into a stack file: those keys, and not a character more."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

import pytest
import yaml

from model.problems import UserError
from model.settings.aws import Settings
from operate.stack.release_file import KEY, write_release
from operate.stack.stack_file import read_stack_file, settings_of
from tests.harness import ROOT

SOURCE = "s3://graphistry-releases-123456789012-us-east-1/graphistry-2.51.3-13-0123456789ab.tar.gz"
SHA256 = "12" * 32  # digits alone, which plain YAML would take for a number
WHERE = {"source": SOURCE, "sha256": SHA256}
ALL = {"version": "2.51.3", "cuda": "13", **WHERE}
HEAD = """config:
  aws:region: us-east-1
  graphistry-cluster:gpuProfiles: {t4: {instanceTypes: [g4dn.2xlarge]}}
  graphistry-cluster:leader: {profile: t4}
"""


def released(file: Path) -> dict[str, str | None]:
    settings = settings_of(read_stack_file(file)["config"])
    assert isinstance(settings, Settings)
    return settings.release.model_dump(by_alias=True)


def removed(before: str, after: str) -> list[str]:
    """The lines that are not there any more."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:].strip() for line in lines if line.startswith("- ")]


@pytest.mark.parametrize("stack", ["dev", "prod", "sandbox"])
def test_nothing_else_changes_in_a_shipped_stack_file(tmp_path: Path, stack: str) -> None:
    file = Path(shutil.copy(ROOT / "stacks" / f"Pulumi.{stack}.yaml", tmp_path))
    before = file.read_text()
    write_release(file, WHERE)
    after = file.read_text()
    assert released(file) == {"version": "2.50.1", "cuda": "12", **WHERE}
    assert removed(before, after) == (["source: preinstalled"] if stack == "prod" else [])
    assert [line for line in after.splitlines() if "#" in line] == [
        line for line in before.splitlines() if "#" in line
    ]
    blank = [before.count("\n\n"), after.count("\n\n")]
    assert blank[0] == blank[1]
    write_release(file, WHERE)
    assert file.read_text() == after


@pytest.mark.parametrize("stack", ["dev", "prod", "sandbox"])
def test_version_and_cuda_are_written_in_their_places(tmp_path: Path, stack: str) -> None:
    file = Path(shutil.copy(ROOT / "stacks" / f"Pulumi.{stack}.yaml", tmp_path))
    write_release(file, ALL)
    assert released(file) == ALL
    text = file.read_text()
    assert text.index("version:") < text.index("cuda:") < text.index("source:")


@pytest.mark.parametrize(
    "section",
    [
        "",
        f"  {KEY}: {{}}\n",
        f"  {KEY}:\n",
        f'  {KEY}: {{version: "2.50.1", cuda: "12"}}  # ours\n',
        f"  {KEY}:\n    version: '2.50.1'  # of March\n    cuda: '12'\n",
        f'  {KEY}:\n      cuda: "12"  # wide\n      source: preinstalled # old\n      version: "2.50.1"\n',
        f'  {KEY}:\n    version: "2.50.1"\n    cuda: "12"\n    source: "s3://old/key"\n    sha256: "{"0" * 64}"\n',
    ],
    ids=["absent", "empty map", "nothing", "one line", "single quotes", "wide", "another archive"],
)
def test_a_section_is_written_however_it_looks(tmp_path: Path, section: str) -> None:
    file = tmp_path / "Pulumi.mine.yaml"
    tail = "  # What comes after it.\n  graphistry-cluster:followers: {}\nencryptionsalt: v1:x\n"
    file.write_text(HEAD + section + tail)
    write_release(file, ALL)
    assert released(file) == ALL
    text = file.read_text()
    assert tail in text
    for comment in ("# ours", "# of March", "# wide", "# old"):
        assert (comment in text) is (comment in section)
    assert yaml.safe_load(text)["encryptionsalt"] == "v1:x"


def test_a_file_that_is_written_too_cleverly_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.mine.yaml"
    text = f'{HEAD}  {KEY}: &it\n    version: "2.50.1"\n    cuda: "12"\n    source:\n      preinstalled\n'
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        write_release(file, WHERE)
    assert file.read_text() == text
    assert f'    source: "{SOURCE}"' in str(refused.value)
