"""docs/reference/changes.md is what `./cluster preview` judges by."""

from __future__ import annotations

import pytest

from model.changes import Change, Effect
from tests.harness import ROOT
from tools import generate_changes
from tools.generate_changes import EFFECTS, PAGE, SITES, page


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "run .venv/bin/python -m tools.generate_changes"


def test_every_key_of_each_site_has_a_row_and_every_effect_a_meaning() -> None:
    for site, declared in SITES.items():
        table = page().partition(f"## {site}\n")[2].partition("## ")[0]
        assert {key for key in declared if f"| `{key}`" not in table} == set()
    assert set(EFFECTS) == set(Effect)


def test_leader_followers_less_and_removal_have_rows_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    less = Change(Effect.NEVER, "shrinks")
    change = Change(
        Effect.NEXT_MACHINE, "later", Change(Effect.IN_PLACE, "grows", smaller=less), smaller=None
    )
    snapshot = Change(Effect.NEVER, "no", taken_out=Change(Effect.IN_PLACE, "nothing"))
    declared = {"disk": change, "leader.disk": change, "followers.<name>.disk": change}
    declared |= {"leader.snapshot": snapshot}
    monkeypatch.setattr(generate_changes, "SITES", {"On AWS": declared})
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert rows == [
        "| `disk`, followers | next machine | later |",
        "| `disk`, leader | in place | grows |",
        "| `disk`, leader, *less* | never | shrinks |",
        "| `followers.<name>.disk` | next machine | later |",
        "| `leader.disk` | in place | grows |",
        "| `leader.disk`, *less* | never | shrinks |",
        "| `leader.snapshot` | never | no |",
        "| `leader.snapshot`, *taken out* | in place | nothing |",
    ]


@pytest.mark.parametrize(
    "document", ["docs/how-to/change-a-cluster.md", "docs/how-to/deploy-on-hosts.md"]
)
def test_the_page_is_linked(document: str) -> None:
    assert "changes.md" in (ROOT / document).read_text()
