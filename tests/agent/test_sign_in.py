"""The service user is made by the leader, so a follower that is earlier waits for it."""

from __future__ import annotations

import pytest

from agent import limits
from agent.graphistry import web
from agent.graphistry.door import Door
from agent.phases import start

DOOR = Door("http://localhost")


def leader_makes_the_user_after(refusals: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let sign-in be refused so often; the users who tried."""
    tried: list[str] = []

    def token(user: str, password: str) -> str:
        tried.append(user)
        if len(tried) <= refusals:
            raise web.WebError("HTTP 400")
        return "token"

    monkeypatch.setattr(web, "token", token)
    monkeypatch.setattr(start, "PAUSE_SECONDS", 0)
    return tried


def test_a_user_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = leader_makes_the_user_after(3, monkeypatch)
    assert start._sign_in(DOOR, "user", "password", limits.PATIENCE) == "token"
    assert len(tried) == 4


def test_a_user_that_never_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.0)
    leader_makes_the_user_after(10_000, monkeypatch)
    with pytest.raises(web.WebError, match="HTTP 400"):
        start._sign_in(DOOR, "user", "password", limits.PATIENCE)
