"""The command line itself: its help, its completion, and the node that is meant by a misspelt one."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

import operate.__main__ as commands
from model.problems import UserError
from operate.commands.completion import OUTLINES, outline
from operate.commands.host_keys import collect
from operate.commands.options import require_node
from operate.stack.stack_names import nodes_in, stacks_in
from tests.harness import ROOT


def shown(*words: str) -> str:
    """A help page as a terminal of 80 columns has it, in a process of its own: rich measures the terminal once."""
    return subprocess.run(
        [sys.executable, "-m", "operate", *words, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "TERMINAL_WIDTH": "80"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("command", list(commands.COMMANDS))
def test_every_help_fits_into_a_terminal_and_has_its_examples(command: str) -> None:
    page = shown(command)
    assert [line for line in page.splitlines() if cell_len(line) > 80] == []
    assert "…" not in page.replace("…-sandbox", ""), "a word is cut off"
    assert "Examples:" in page
    words = " ".join(page.split())
    for each in commands.COMMANDS[command]:
        assert each in words
        assert f"./cluster {command}" in words


def test_the_list_of_commands_fits_into_a_terminal() -> None:
    page = shown()
    assert [line for line in page.splitlines() if cell_len(line) > 80] == []
    for each in commands.COMMANDS:
        assert f" {each} " in page


@pytest.mark.parametrize(
    "example", [each for examples in commands.COMMANDS.values() for each in examples]
)
def test_every_example_has_words_that_its_command_takes(example: str) -> None:
    words = shlex.split(example.removeprefix('eval "$(./cluster ').removesuffix(')"'))
    command = commands.command(words[0])
    # Without the checks of what stands behind the words, such as whether the stack has a file.
    for each in command.params:
        each.callback = None
    with command.make_context(words[0], words[1:], resilient_parsing=True) as context:
        given = {each.name for each in command.params if each.name != "help"}
        assert set(context.params) <= given
        assert context.args == []
        assert context.params[next(iter(context.params))] or words[1:] in ([], ["--json"])


def complete(*words: str, folder: Path = ROOT, name: str = "./cluster") -> list[str]:
    """What a bash offers for the last word of a line, by the completion that the command prints."""
    line = " ".join(map(shlex.quote, words))
    script = f"""
        eval "$({name} --show-completion bash)" || exit
        complete -p cluster >/dev/null || exit
        COMP_WORDS=({shlex.quote(name)} {line}); COMP_CWORD={len(words)}
        _cluster_completion {shlex.quote(name)}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("up", "sand"), ["sandbox"]),
        (("up", "onprem"), ["onprem", "onprem-sandbox"]),
        (("p",), ["preview", "prove", "publish", "purge"]),
        (("shell", "onprem", "r"), ["rack1", "rack2"]),
        (("shell", "prod", "l"), ["leader"]),
        (("host-keys", "onprem", ""), ["leader", "rack1", "rack2"]),
        (("shell", "nosuch", ""), []),
        (("up", "sandbox", "sand"), []),
        (("init", "sand"), []),
        (("status", "prod", "--js"), ["--json"]),
        (("up", "prod", "--target", "s"), ["sandbox"]),
    ],
)
def test_bash_completes_commands_stacks_nodes_and_options(
    words: tuple[str, ...], offered: list[str]
) -> None:
    assert complete(*words) == offered


def test_completion_works_from_another_directory_by_another_path(tmp_path: Path) -> None:
    link = tmp_path / "cluster"
    link.symlink_to(ROOT / "cluster")
    assert complete("up", "sand", folder=tmp_path, name="./cluster") == ["sandbox"]
    assert complete("up", "sand", folder=tmp_path, name=str(ROOT / "cluster")) == ["sandbox"]


def test_a_tab_imports_nothing_that_takes_long() -> None:
    environment = {
        **os.environ,
        "_CLUSTER_COMPLETE": "complete_bash",
        "COMP_WORDS": "./cluster\nshell\nprod\nl",
        "COMP_CWORD": "3",
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    done = subprocess.run([ROOT / "cluster"], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["leader"]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "operate.commands.completion" in imported
    assert (
        imported & {"boto3", "botocore", "pulumi", "model.settings", "sandbox", "paramiko"} == set()
    )


def test_the_outline_of_a_command_has_the_words_of_the_command() -> None:
    for name in commands.COMMANDS:
        real = [each.name for each in commands.command(name).params if _is_word(each)]
        drawn = [each.name for each in outline(name).params if _is_word(each)]
        # What is completed by files, and what is no stack yet, is not in the outline.
        assert drawn == [each for each in real if each in ("stack", "node")], name
    assert set(OUTLINES) <= set(commands.COMMANDS)


def _is_word(parameter: object) -> bool:
    return getattr(parameter, "param_type_name", "") == "argument"


def test_stacks_and_nodes_are_read_whatever_stands_in_the_files(tmp_path: Path) -> None:
    for text in (
        "",
        "config: [\n",
        "- a\n",
        "config: 3\n",
        "config: {graphistry-cluster:followers: 3}",
    ):
        (tmp_path / "Pulumi.wrong.yaml").write_text(text)
        assert nodes_in(tmp_path / "Pulumi.wrong.yaml") == []
    (tmp_path / "Pulumi.wrong.yaml").write_bytes(b"\xff\xfe\x00")
    assert nodes_in(tmp_path / "Pulumi.wrong.yaml") == []
    assert nodes_in(tmp_path / "away.yaml") == []
    (tmp_path / ".Pulumi.partial.yaml").touch()
    assert stacks_in(tmp_path) == ["wrong"]
    assert stacks_in(tmp_path / "away") == []


def test_a_misspelt_node_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(UserError) as told:
        require_node("rack11", ["leader", "rack1", "other"])
    assert str(told.value) == (
        "NODE: got 'rack11'; did you mean \"rack1\"?; allowed: leader, rack1, other"
    )
    with pytest.raises(UserError) as told:
        require_node("zzz", ["leader"])
    assert "did you mean" not in str(told.value)
    require_node("leader", ["leader"])


def test_shell_and_host_keys_name_the_node_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="names no host 'rak1'; did you mean \"rack1\""):
        collect(ROOT / "stacks" / "Pulumi.onprem.yaml", "rak1")
    shell = importlib.import_module("operate.commands.shell")

    class Opened:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(shell, "deployment", lambda *_, **__: shell_session(Opened()))
    monkeypatch.setattr(shell, "deployed_outputs", lambda _: {})
    monkeypatch.setattr(shell, "entries", lambda _: {"leader": {}, "small": {}})
    done = CliRunner().invoke(commands.app, ["shell", "sandbox", "smal"])
    assert done.exit_code == 1
    assert 'did you mean "small"?; allowed: leader, small' in done.stderr


def shell_session(opened: object) -> object:
    """What ends a command with a message, around nothing."""
    from operate.stack.session import mistakes_told

    assert opened
    return mistakes_told()
