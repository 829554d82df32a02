"""Commands on a host mean the same under every login shell, and what the shell says besides is no answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from operate.hosts.remote_shell import BEGIN, answer, under_sh
from operate.hosts.sent_agent import NO_PYTHON, NO_SUDO, run_once
from operate.nodes import joined, on_hosts
from operate.steps import host_removal, host_secret
from operate.steps.host_release import TAKE
from operate.steps.step_output import LONGEST_LINE, shortened

SHELLS: dict[str, list[str]] = {"sh": [], "bash": [], "rbash": [], "fish": [], "tcsh": ["-f"]}
"""Login shells with their options; fish and tcsh are tried if they are installed."""
HERE = [name for name in SHELLS if shutil.which(name)]
SCRIPTS = (
    host_removal.REMOVE,
    host_removal.LEADERS_SECRET,
    host_secret.AGENT,
    on_hosts.STATUS,
    joined.GUESTS,
    TAKE,
    run_once("inspect", b"archive"),
)


def run(shell: str, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """As sshd runs a command."""
    words = [shell, *SHELLS[shell], "-c", under_sh(script)]
    return subprocess.run(words, input=stdin, capture_output=True, text=True)


@pytest.mark.parametrize("shell", HERE)
def test_a_script_means_the_same_in_every_shell(shell: str) -> None:
    script = """x='a "b" $HOME'; for each in 1 2; do echo "$each $x"; done; cat; pwd; echo no >&2; exit 3"""
    done = run(shell, script, stdin="given\n")
    assert answer(done.stdout) == '1 a "b" $HOME\n2 a "b" $HOME\ngiven\n/\n', done
    assert answer(done.stderr) == "no\n"
    assert done.returncode == 3


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_can_be_quoted_for_every_shell(script: str) -> None:
    assert under_sh(script)
    assert not subprocess.run(["sh", "-n", "-c", script]).returncode


@pytest.mark.parametrize("text", ["a\nb", "! a", "printf '%s\\n'"])
def test_what_the_shells_quote_in_different_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="in a command for a host"):
        under_sh(text)


def test_what_a_login_shell_prints_is_no_part_of_the_answer(tmp_path: Path) -> None:
    (tmp_path / "rc").write_text(
        "echo Welcome; printf 'no end of line'; echo warning >&2; set -x; trap 'echo bye' EXIT\n"
    )
    done = subprocess.run(
        ["bash", "-c", under_sh("printf '{}'; echo wrong >&2")],
        env={"BASH_ENV": str(tmp_path / "rc"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert "Welcome" in done.stdout
    assert "bye" in done.stdout
    assert BEGIN in done.stderr
    assert answer(done.stdout) == "{}"
    assert answer(done.stderr) == "wrong\n"


def test_a_shell_that_runs_no_command_gives_no_answer() -> None:
    assert answer("This account is currently not available.\n") is None


@pytest.fixture
def host(tmp_path: Path) -> dict[str, str]:
    """The environment of a host whose sudo is none."""
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(temporary)}


def test_the_agent_comes_with_the_command_and_leaves_no_file(
    host: dict[str, str], tmp_path: Path
) -> None:
    agent = b"import sys; print(sys.argv[1:], sys.stdin.read(), sys.argv[0].endswith('.pyz'))\n"
    done = subprocess.run(
        ["sh", "-c", run_once("deliver --release /a", agent)],
        env=host,
        input=agent + b"specification",
        capture_output=True,
    )
    assert done.stdout == b"['deliver', '--release', '/a'] specification True\n", done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("sudo", "said"), [("exit 1", NO_SUDO), ("shift; test -x $1 || exit 1", None)]
)
def test_a_host_without_sudo_says_so(
    host: dict[str, str], tmp_path: Path, sudo: str, said: str | None
) -> None:
    (tmp_path / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
    done = subprocess.run(
        ["sh", "-c", run_once("inspect", b"")], env=host, capture_output=True, text=True
    )
    assert done.returncode
    assert (NO_SUDO in done.stderr) == (said is not None or NO_PYTHON not in done.stderr)


def test_a_release_arrives_whole_or_not_at_all(host: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "opt" / "release.sent"

    def take(size: int) -> int:
        script = f"{TAKE} {place} {size}"
        return subprocess.run(["sh", "-c", script], env=host, input=b"release").returncode

    assert take(8)
    assert not place.exists()
    assert not take(7)
    assert place.read_bytes() == b"release"
    assert place.parent.stat().st_mode & 0o777 == 0o700


def test_no_line_is_as_long_as_pulumis_plugin_hangs_at() -> None:
    line = shortened("begin" + "ä" * 100_000 + "end")
    assert len(line.encode()) < 16_384
    assert len(line) <= LONGEST_LINE
    assert line.startswith("begin")
    assert line.endswith("end")
    assert shortened("short") == "short"
