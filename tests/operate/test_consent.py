"""Whether Pulumi asks before it changes a real account or real hosts."""

from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from operate.stack.session import consent

REAL: Any = SimpleNamespace(sandbox=None)
REHEARSAL: Any = SimpleNamespace(sandbox=SimpleNamespace())
NOT_ASKED = ["--yes", "--skip-preview"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: request.param))


@pytest.mark.parametrize("terminal", [True], indirect=True)
def test_pulumi_asks_a_person(terminal: None) -> None:
    assert consent(REAL, yes=False) == []
    assert consent(REAL, yes=True) == NOT_ASKED


@pytest.mark.parametrize("terminal", [False], indirect=True)
def test_a_script_says_yes_or_is_told_how(terminal: None) -> None:
    assert consent(REAL, yes=True) == consent(REHEARSAL, yes=False) == NOT_ASKED
    with pytest.raises(UserError, match="--yes"):
        consent(REAL, yes=False)
