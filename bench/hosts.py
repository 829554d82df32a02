"""``python -m bench.hosts``: ``up`` that makes one host a follower, and six at once. The leader is ready before.

All hosts were followers once and are plain hosts again, so no boot is timed: preflight, delivery over SSH, convergence.
They share this computer's processors, which real ones do not: beside the ratio of the wall times stands what one spent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import typer
import yaml
from rich.console import Console
from rich.table import Table

from model.problems import UserError
from model.settings.stack_keys import PROJECT
from operate.stack.deployment import ROOT
from operate.terminal.messages import say

FEW, MANY = 1, 6
STACK = "onprem-sandbox"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".sandbox", ".build", "__pycache__", ".*_cache")


def main(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Measure, and print ratios of one run."""
    with checkout() as root:
        try:
            say("booting")
            configure(root, MANY)
            operate(root, "up", "--yes")
            measured = {number: follow(root, number) for number in (FEW, MANY)}
        finally:
            operate(root, "down", "--yes")
    (few, few_processor), (many, many_processor) = measured[FEW], measured[MANY]
    if as_json:
        print(json.dumps({"ratios": {"wall": many / few}, "wall seconds": [few, many]}, indent=2))
        return
    table = Table("hosts", "wall s", "processor s", box=None)
    table.add_row(str(FEW), f"{few:.1f}", f"{few_processor:.1f}")
    table.add_row(str(MANY), f"{many:.1f}", f"{many_processor:.1f}")
    Console(width=120).print(table)
    print(f"{MANY} hosts over {FEW}, wall: {many / few:.2f}")
    print(f"{MANY} hosts over {FEW}, processor: {many_processor / few_processor:.2f}")


@contextmanager
def checkout() -> Iterator[Path]:
    """A copy of this tree with a sandbox of its own."""
    with TemporaryDirectory(prefix="graphistry-bench-") as name:
        root = Path(name) / "checkout"
        shutil.copytree(ROOT, root, ignore=LEFT_OUT, symlinks=True)
        (root / ".venv").symlink_to(sys.prefix)
        yield root


def follow(root: Path, followers: int) -> tuple[float, float]:
    """Seconds of wall and of processor time in which a ready leader gets *followers*; it has none before and after."""
    say(f"{followers} at once")
    configure(root, 0)
    operate(root, "up", "--yes")
    configure(root, followers)
    began, before = time.monotonic(), sum(psutil.cpu_times()[:3])
    operate(root, "up", "--yes")
    return time.monotonic() - began, sum(psutil.cpu_times()[:3]) - before


def configure(root: Path, followers: int) -> None:
    """Let the stack file have so many followers."""
    file = root / "stacks" / f"Pulumi.{STACK}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    key = f"{PROJECT}:followers"
    leader = content["config"][f"{PROJECT}:leader"]
    content["config"][key] = {
        f"f{number}": {
            "profile": leader["profile"],
            "host": {**leader["host"], "address": f"10.77.0.{20 + number}"},
        }
        for number in range(followers)
    }
    file.write_text(yaml.safe_dump(content))


def operate(root: Path, *arguments: str) -> None:
    """Run one of the operator's commands. Raises :class:`UserError` with its words when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "operate", *arguments[:1], STACK, *arguments[1:]],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise UserError(f"{' '.join(arguments)} failed:\n{done.stdout}")


if __name__ == "__main__":
    typer.run(main)
