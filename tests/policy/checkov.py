"""Checkov, run over plans without a network, and the reasons why some of its checks are not followed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.harness import ROOT

PROGRAM = ROOT / ".build" / "checkov" / "bin" / "checkov"
SKIPS_FILE = ROOT / "docs" / "explanation" / "policy.md"


@dataclass(frozen=True, order=True)
class Finding:
    """One check of one resource."""

    plan: str
    """Name of the plan."""

    check: str
    """``CKV_AWS_3``."""

    resource: str
    """Terraform's address of the resource."""

    title: str
    """What the check wants."""


@dataclass(frozen=True)
class Skip:
    """A check that is not followed."""

    check: str
    resource: str
    """Pattern of the addresses it is not followed for."""

    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is the reason for a failed check."""
        return finding.check == self.check and fnmatch(finding.resource, self.resource)


@dataclass(frozen=True)
class Scan:
    """What Checkov says."""

    passed: list[Finding]
    failed: list[Finding]


def scan(plans: Mapping[str, Mapping[str, Any]], folder: Path) -> Scan:
    """Checkov's checks of *plans* by name, which are written to *folder*; no two may have a resource of one address.

    Raises :class:`AssertionError` with what Checkov said when it did not run.
    """
    assert PROGRAM.exists(), "Checkov is not there; `make .build/checkov/ready` installs it"
    for name, plan in plans.items():
        (folder / f"{name}.json").write_text(json.dumps(plan))
    files = [word for name in plans for word in ("--file", f"{name}.json")]
    run = subprocess.run(
        [PROGRAM, *files, "--framework", "terraform_plan", "--skip-download", "--output", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.startswith("{"), f"Checkov ended with {run.returncode}: {run.stderr}"
    told = json.loads(run.stdout)
    assert not told["results"]["parsing_errors"], told["results"]["parsing_errors"]
    return Scan(
        *(
            [
                Finding(
                    plan=Path(each["file_path"]).stem,
                    check=each["check_id"],
                    resource=each["resource"],
                    title=each["check_name"],
                )
                for each in told["results"][f"{outcome}_checks"]
            ]
            for outcome in ("passed", "failed")
        )
    )


def skips() -> list[Skip]:
    """The table of ``docs/explanation/policy.md``."""
    rows = re.findall(
        r"^\| `(CKV\w+)` \| `(.+?)` \| (.+) \|$", SKIPS_FILE.read_text(), re.MULTILINE
    )
    return [Skip(*row) for row in rows]
