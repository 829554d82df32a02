"""Writes docs/reference/changes.md: what a change of each key of a stack file does to a running cluster.

    python -m tools.generate_changes

The page is made of `model.changes`, by which `./cluster preview` judges; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model.changes import ON_AWS, ON_HOSTS, Change, Effect

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "changes.md"

EFFECTS: Mapping[Effect, str] = {
    Effect.IN_PLACE: "the machine stays; services may restart",
    Effect.NEXT_MACHINE: "the running machine stays as it is; the next one of that node is as the stack file says",
    Effect.ROLLING: "node after node, the leader first; the machines stay",
    Effect.REPLACES: "another machine takes the node's place; what holds data stays",
    Effect.NEVER: "refused, or it is other data or another cluster",
}
LESS = "less"
TAKEN_OUT = "taken out"
SITES: Mapping[str, Mapping[str, Change]] = {"On AWS": ON_AWS, "On hosts": ON_HOSTS}

_HEAD = """# Changes

What a change of each key of a stack file does to a cluster that runs. `./cluster preview` shows it for your change,
with the nodes that it is about, and ends with an error for one that is never possible. This page is generated from the
table by which it judges (`model/changes.py`) by `.venv/bin/python -m tools.generate_changes`.
"""
_FOOT = """
Keys next to these: `aws:region` never changes, as a cluster does not move; `deleteData` lifts the protection of data
and touches no node ([the end](../how-to/end-a-cluster.md)).
"""


def page() -> str:
    """The page, whole."""
    effects = [f"- **{effect.value}**: {words}" for effect, words in EFFECTS.items()]
    effects.append(
        f"\n*{LESS}* is a smaller number, a list with less to choose from, or `placement: packed`; "
        f"*{TAKEN_OUT}* is the key's removal."
    )
    return "\n".join([_HEAD, *effects, *(line for site in SITES for line in _table(site)), _FOOT])


def _table(site: str) -> Iterator[str]:
    yield f"\n## {site}\n"
    yield "| key | change | what happens |"
    yield "|---|---|---|"
    for key, change in sorted(SITES[site].items()):
        for case, each in _cases(key, change):
            yield f"| `{key}`{case} | {each.effect.value} | {each.words} |"


def _cases(key: str, change: Change) -> Iterator[tuple[str, Change]]:
    """The change in each case that the table tells apart: for the leader, for followers, to less."""
    of_one_role = key.startswith(("leader.", "followers."))
    roles = [(", followers", change), (", leader", change.to_leader)]
    if change.to_leader is None:
        roles = [("", change)]
    elif of_one_role:
        roles = [("", change.to_leader if key.startswith("leader.") else change)]
    for role, each in roles:
        if each is not None:
            yield role, each
            if each.smaller is not None:
                yield f"{role}, *{LESS}*", each.smaller
            if each.taken_out is not None:
                yield f"{role}, *{TAKEN_OUT}*", each.taken_out


if __name__ == "__main__":
    PAGE.write_text(page())
