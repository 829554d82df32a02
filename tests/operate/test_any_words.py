"""Whatever words a command gets: it runs, or ends with a message, and touches nothing before."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.core import TyperGroup, TyperOption

from operate import __main__ as commands

APP = typer.main.get_command(commands.app)
assert isinstance(APP, TyperGroup)
OPTIONS = [
    (name, parameter.opts[0])
    for name in commands.COMMANDS
    for parameter in commands.command(name).params
    if isinstance(parameter, TyperOption) and not parameter.is_flag
]
"""Every option that takes a word, of every command."""
ODD = [
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "my stack",
        "",
        " ",
        ".",
        "..",
        "-x",
        "--yes",
        "--",
        "a.b",
    ),
    *("a/b", "a\0b", "a\nb", "\x1b[31m", "\udcff", "é", "名", "x" * 101, "x" * 5000, "$(id)", "*"),
    *("a,b", ",", "leader", "newest", "ami-0", "sandbox", "aws", "a'b", '"', "[red]", "%s", "{}"),
]
WORDS = st.sampled_from(ODD) | st.text(st.characters(codec=None), max_size=8)
BOUNDED = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the commands to take for their checkout; it has no stack, so that none begins."""
    root = tmp_path_factory.mktemp("outside") / "checkout"
    (root / "stacks").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            for constant, folder in {"ROOT": root, "SANDBOX_DIRECTORY": root / ".sandbox"}.items():
                if name.startswith("operate.") and hasattr(module, constant):
                    patch.setattr(module, constant, folder)
        patch.chdir(root)
        yield root


def listing(root: Path) -> list[Path]:
    return sorted(root.parent.rglob("*"))


def run(*words: str) -> tuple[object, str]:
    """Run a command in this process; its exit status, and all that it printed. Any other exception fails the test."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        APP.main(list(words), prog_name="operate")
    return ended.value.code, printed.getvalue()


@given(choice=st.sampled_from(OPTIONS), word=WORDS, more=st.lists(WORDS, max_size=1))
@BOUNDED
def test_any_words_end_with_a_message_and_nothing_written(
    checkout: Path, choice: tuple[str, str], word: str, more: list[str]
) -> None:
    command, option = choice
    before = listing(checkout)
    status, printed = run(command, option, word, *more)
    assert status in (1, 2)
    assert printed.strip()
    assert "Traceback" not in printed
    assert "\x1b" not in printed
    assert listing(checkout) == before


STACK = "which is not a stack name"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *((["status", word], STACK) for word in ("../../etc/passwd", "my stack", "")),
        *((["up", "--", word], STACK) for word in ("-x", "a.b", "x" * 101, "a\0b", "\x1b[1m")),
        (["down", "--abandon", "gpu-team,../x"], '--abandon: got "../x", which'),
        (["image-refresh", "--driver", "newest"], '--driver: got "newest", which is not a version'),
        (["image-refresh", "--cuda", "12.8 "], '--cuda: got "12.8 ", which is not a version'),
        (["up", "--target", "gcp"], "'sandbox', "),
        (["up", "prd"], "there is no stacks/Pulumi.prd.yaml; stacks here: none"),
    ],
)
def test_a_wrong_word_is_named_with_what_is_allowed(
    checkout: Path, words: list[str], told: str
) -> None:
    status, printed = run(*words)
    assert status in (1, 2)
    assert told in printed
    assert not list(checkout.rglob("*.lock"))


@pytest.mark.parametrize("command", ["shell", "host-keys"])
def test_a_node_is_checked_before_anything_else(
    checkout: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout
    monkeypatch.setattr("operate.commands.options.stack_file_of", lambda _: None)
    status, printed = run(command, "sandbox", "../leader")
    assert status == 1
    assert 'NODE: got "../leader", which is not the name of a node' in printed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us east 1"),
        ("AWS_REGION", "../us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1\n"),
        ("SANDBOX_MACHINES", "maybe"),
        ("SANDBOX_PORT", "many"),
        ("SANDBOX_PORT", "65536"),
        ("SANDBOX_PORT", "²"),
        ("AWS_ENDPOINT_URL", "garbage"),
        ("AWS_ENDPOINT_URL_S3", "https://"),
        ("AWS_CA_BUNDLE", "/nowhere/bundle.pem"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    status, printed = run("status")
    assert status == 1
    assert "1 variable of this shell" in printed
    assert name in printed
    monkeypatch.setenv(name, "")
    assert name not in run("status")[1]
