"""How a command ends that the operating system stops: with a message, and a traceback for our mistakes alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import typer
from botocore.parsers import ResponseParserError

from operate.stack.session import mistakes_told


def ending(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit) as ended, mistakes_told():
        raise error
    assert ended.value.exit_code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "No space left on device; make room on the disk of this checkout"),
        (errno.EDQUOT, "make room within your quota"),
        (errno.EACCES, "Permission denied; this user needs permission there"),
        (errno.EROFS, "the checkout is on a file system that cannot be written"),
        (errno.ENOTDIR, "Not a directory"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_what_to_do(
    number: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ending(OSError(number, os.strerror(number), "/x/.sandbox/state"), capsys)
    assert said.startswith("error: /x/.sandbox/state: ")
    assert told in said


def test_a_full_disk_names_no_file_and_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(typer.Exit), mistakes_told(), full.open("w") as stream:
        stream.write("x" * 2**20)
    assert "No space left on device; make room" in capsys.readouterr().err


def test_what_answers_in_the_place_of_aws_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "what answered is not AWS" in ending(ResponseParserError("<html>"), capsys)


@pytest.mark.parametrize("error", [OSError("ours"), KeyError("ours"), BrokenPipeError(32, "pipe")])
def test_what_is_no_mistake_of_the_users_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)), mistakes_told():
        raise error
