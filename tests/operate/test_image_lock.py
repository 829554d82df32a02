"""A lock is written into a stack file, and nothing else of the file changes."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from model.settings.aws import FollowersOnAws
from model.settings.image import LockedImage
from operate.stack.image_lock import write_lock
from operate.stack.stack_file import read_stack_file, settings_of
from tests.harness import ROOT

FIRST = LockedImage(
    id="ami-0123456789abcdef0",
    name='Base "OSS" AMI (Ubuntu 24.04)',
    driver="595.71.05",
    cuda="13.2",
    date="2026-07-17",
)
SECOND = LockedImage(id="ami-0123456789abcdef1", name="newer", date="2026-10-06")
STACKS = ["sandbox", "dev", "prod", "gpu-team"]


@pytest.fixture(params=STACKS)
def stack_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A stack file on AWS, copied."""
    return Path(shutil.copy(ROOT / "stacks" / f"Pulumi.{request.param}.yaml", tmp_path))


def locks(stack_file: Path) -> dict[str, LockedImage]:
    settings = settings_of(read_stack_file(stack_file)["config"])
    assert isinstance(settings, FollowersOnAws)
    return dict(settings.image.lock)


def rest(stack_file: Path) -> list[str]:
    """The lines of a file that are not the lock's."""
    return [
        line
        for line in stack_file.read_text().splitlines()
        if line.strip() and not line.startswith("      ")
    ]


def commented(stack_file: Path) -> dict[str, str]:
    """Each comment with what stands below it."""
    lines = [line for line in stack_file.read_text().splitlines() if line.strip()]
    below = dict(pairwise(lines))
    return {line: below[line] for line in below if line.lstrip().startswith("#")}


def test_a_lock_is_added_and_every_line_of_the_file_stays_where_it_was(stack_file: Path) -> None:
    before = [line for line in stack_file.read_text().splitlines() if line.strip()]
    comments = commented(stack_file)
    write_lock(stack_file, "us-east-1", FIRST)
    after = [line for line in stack_file.read_text().splitlines() if line.strip()]
    remaining = iter(after)
    assert all(line in remaining for line in before), "a line is gone, or in another order"
    assert commented(stack_file).items() >= comments.items()
    assert locks(stack_file) == {"us-east-1": FIRST}


def test_a_second_lock_takes_the_place_of_the_first_and_moves_no_comment(stack_file: Path) -> None:
    write_lock(stack_file, "us-east-1", FIRST)
    before, comments = rest(stack_file), commented(stack_file)
    write_lock(stack_file, "us-east-1", SECOND)
    assert commented(stack_file) == comments
    assert locks(stack_file) == {"us-east-1": SECOND}
    assert rest(stack_file) == before


def test_each_region_has_its_own(stack_file: Path) -> None:
    write_lock(stack_file, "us-east-1", FIRST)
    write_lock(stack_file, "eu-west-1", SECOND)
    assert locks(stack_file) == {"us-east-1": FIRST, "eu-west-1": SECOND}


@pytest.mark.parametrize("section", ["{}", "{ssmParameter: /a/b}"])
def test_a_section_in_one_line_is_filled(tmp_path: Path, section: str) -> None:
    text = (ROOT / "stacks" / "Pulumi.dev.yaml").read_text()
    stack_file = tmp_path / "Pulumi.mine.yaml"
    stack_file.write_text(text + "  graphistry-cluster:image: " + section + "\n")
    write_lock(stack_file, "us-east-1", FIRST)
    assert locks(stack_file) == {"us-east-1": FIRST}
    assert yaml.safe_load(stack_file.read_text())["config"]["aws:region"] == "us-east-1"
