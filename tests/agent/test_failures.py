"""Codes of failures: known, described, used."""

import re
from pathlib import Path

import agent
from agent.failures import HINTS

ROOT = Path(agent.__file__).parents[1]
CALLS = "Failure|BootstrapError|require|patiently|report_failure"
SOURCES = {
    path: path.read_text() for path in (ROOT / "agent").rglob("*.py") if path.name != "failures.py"
}


def table() -> list[list[str]]:
    lines = (ROOT / "docs" / "reference" / "failure-codes.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_table_has_every_code_once_with_cause_and_remedy() -> None:
    assert [row[0].strip("`") for row in table()] == list(HINTS)
    assert all(len(row) == 3 and all(row) for row in table())


def test_every_code_that_is_raised_is_known() -> None:
    raised = {
        code
        for text in SOURCES.values()
        for code in re.findall(
            rf"(?:{CALLS})\(\s*(?:bucket, prefix, )?\"([A-Z][A-Za-z]+)\"",
            text,
        )
    }
    assert len(raised) > 30
    assert raised <= set(HINTS)


def test_every_known_code_is_used() -> None:
    everything = "\n".join(SOURCES.values())
    assert [code for code in HINTS if f'"{code}"' not in everything] == []
