"""Asking for another machine, and the breaker: one bad driver or image must not replace every follower.

Each follower keeps a document of its own beside its report, which the others may read. It opens the document before it
looks at the others', so that two that ask at the same moment see each other. Who cannot look does not ask.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import limits
from agent.report import TRANSIENT
from agent.wishes import Ask

if TYPE_CHECKING:
    from agent.node import Node

SHARE = 0.2
"""Of the cluster's followers may ask at a time, and one of few (EKS's node auto repair: 20 %)."""
MOST = 5
WEEK_SECONDS = 7 * 86400.0
"""A node that was replaced so often in a week is a person's (NVSentinel: five remediations in seven days)."""
SETTLE_SECONDS = 5.0
"""Between opening the own document and looking at the others'."""


@dataclass(frozen=True)
class Answer:
    """What came of asking."""

    is_asked: bool
    words: str
    hint: str | None = None


def ask(node: Node, code: str) -> Answer:
    """Ask for another machine in this one's place unless too many do; the report says what came of it."""
    answer = _ask(node, code)
    node.report.set(
        replacement={"state": "asked" if answer.is_asked else "held", "reason": answer.words}
    )
    return answer


def settle(node: Node) -> None:
    """The node is ready: whatever it asked for is over."""
    node.report.set(replacement=None)
    asks = node.site.asks()
    if asks is None or node.specification.is_leader:
        return
    try:
        own = asks.of(node.specification.node)
        if own and own.is_open:
            asks.write(Ask(own.node, own.instance, own.code, own.since, False, own.asked))
    except TRANSIENT as error:
        print(f"the wish for another machine cannot be taken back: {error}", flush=True)


def _ask(node: Node, code: str) -> Answer:
    asks, name, instance = node.site.asks(), node.specification.node, node.instance["id"]
    if asks is None:
        return Answer(False, "nobody brings another host")
    try:
        own, now = asks.of(name), time.time()
        before = tuple(at for at in (own.asked if own else ()) if now - at < WEEK_SECONDS)
        if len(before) >= MOST:
            words = f"no replacement: {MOST} in 7 days did not help"
            return Answer(False, words, f"find the cause, then `{asks.forget(name)}`")
        if own is None or not own.is_open or own.instance != instance:
            own = Ask(name, instance, code, now, True, before)
            asks.write(own)
            time.sleep(SETTLE_SECONDS)
        followers, wishes = asks.all()
        held = held_by(followers, wishes, name, now)
        if held is not None:
            few = f"{allowed(len(followers))} of {len(followers)} followers may ask at a time"
            words = f"no replacement: {few}, and {', '.join(held)} did and is not ready again"
            hint = f"fix or terminate what is not ready; to go on without: `{asks.forget(held[0])}`"
            return Answer(False, words, hint)
        asked = before if own.has_asked else (*before, now)
        asks.write(Ask(name, instance, code, own.since, True, asked))
        return Answer(True, node.site.request_replacement(instance))
    except TRANSIENT as error:
        return Answer(
            False, f"no replacement, as the others' wishes or the group cannot be reached: {error}"
        )


def pause_seconds() -> float:
    """Between two tries to ask."""
    return limits.REPAIR * 6


def allowed(followers: int) -> int:
    """How many of so many followers may ask at a time."""
    return max(1, int(SHARE * followers))


def held_by(followers: list[str], wishes: list[Ask], name: str, now: float) -> list[str] | None:
    """Those for which *name* has to wait; None if it may ask.

    Those who asked come first, then the older wish. A node that the cluster has no more holds nobody up.
    """
    queue = sorted(
        (each for each in wishes if each.is_open and each.node in followers),
        key=lambda each: (not each.has_asked, each.since, each.node),
    )
    recent = [each.node for each in queue if each.node == name or now - each.since < WEEK_SECONDS]
    if name not in recent:
        return recent  # the own wish is not seen: neither may others' be
    ahead = recent[: recent.index(name)]
    return ahead if len(ahead) >= allowed(len(followers)) else None
