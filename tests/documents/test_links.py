"""Whatever a document, a message or a stack file points to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
CODE = [
    *(ROOT / "stacks").glob("*.yaml"),
    *(
        file
        for room in (
            "agent",
            "bench",
            "components",
            "model",
            "operate",
            "preflight",
            "sandbox",
            "tools",
        )
        for pattern in ("*.py", "*.json")
        for file in (ROOT / room).rglob(pattern)
    ),
]
ROOMS = "agent|components|model|operate|preflight|sandbox|stacks|tests|tools"
FILE = re.compile(rf"`((?:{ROOMS})/[\w/.]*\w\.(?:py|yaml|csv|json))`")


def prose(document: Path) -> str:
    """The text of a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The names by which the headings of a document are linked, made as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = found.get(words, 0)
        names.add(f"{words}-{count}" if count else words)
        found[words] = count + 1
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (document.parent / target.partition("#")[0]).resolve()
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text())
        if (document.parent / target.partition("#")[0]).resolve() != document
    }
    assert {each for each in (ROOT / "docs").rglob("*.md") if each not in linked} == set()


def test_every_page_that_code_and_stack_files_name_exists() -> None:
    found = 0
    for file in CODE:
        for page, heading in re.findall(
            r"(docs/[\w/-]+\.md)(?:, ([A-Z][\w ]+)\))?", file.read_text()
        ):
            found += 1
            assert (ROOT / page).exists(), (file, page)
            name = heading.lower().replace(" ", "-")
            assert not heading or name in anchors(ROOT / page), (file, page, heading)
    assert found > 20


def test_every_file_that_the_documents_name_exists() -> None:
    yours = {f"stacks/Pulumi.{name}.yaml" for name in ("mine", "lab")}
    found = set()
    for document in DOCUMENTS:
        if document.name != "CHANGELOG.md":  # which speaks of files that are gone
            found |= set(FILE.findall(document.read_text()))
    assert len(found) > 20
    assert {
        name for name in found - yours if "NAME" not in name and not (ROOT / name).exists()
    } == set()


def test_every_test_that_the_documents_name_exists() -> None:
    named = {name for each in DOCUMENTS for name in re.findall(r"`(test_\w+)`", each.read_text())}
    files = list((ROOT / "tests").rglob("*.py"))
    there = {name for each in files for name in re.findall(r"def (test_\w+)", each.read_text())}
    assert len(named) > 20
    assert named - there - {each.stem for each in files} == set()
