"""Whatever bytes a stack file has: settings, or a message without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.problems import SettingsError, UserError
from operate.stack.stack_file import (
    read_stack_file,
    read_to_edit,
    refuse_unsound_hosts,
    settings_of,
)
from operate.stack.stack_yaml import dumped, read_yaml
from tests.harness import ROOT

FILES = [
    (ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_bytes()
    for stack in ("dev", "gpu-team", "onprem-sandbox")
]
PIECES = [
    *(
        b"\xff",
        b"\xc3",
        b"\xe9",
        b"\xed\xa0\x80",
        b"\x00",
        b"\x1b[2J",
        b"\t",
        b"\r",
        b"\xef\xbb\xbf",
    ),
    *(
        b"\n",
        b"\n  ",
        b": ",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"'",
        b'"',
        b"|\n",
        b">-\n",
        b"#",
        b"? ",
    ),
    *(b"&a ", b"*a", b"<<: *a\n", b"<<: ", b"!!int x", b"!!timestamp x", b"!x ", b"%YAML 9.9\n"),
    *(b"---\n", b"...\n", b"no", b"null", b"~", b"0x10", b"010", b"1e999", b".nan", b"-.inf", b"="),
    *(b"2026-13-99", b"1:30", b"9" * 5000, b"[" * 2000, b'"\\ud800"', b'"\\UFFFFFFFF"', b'"\\x1b"'),
    *(
        b"secure: v1:x",
        b"{secure: v1:x}",
        b"config:",
        b"graphistry-cluster:",
        b"aws:secretKey: x\n",
    ),
    *("é".encode(), "\u2028".encode(), "\x85".encode(), "\U0001f600".encode(), b"x" * 200),
]
PIECE = st.sampled_from(PIECES) | st.binary(max_size=4)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stack file of the project with pieces of it cut out, doubled, and put in."""
    raw = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 40)))
        middle = draw(st.one_of(PIECE, st.just(raw[start:end] * 2)))
        raw = raw[:start] + middle + raw[end:]
    return raw


ANY_BYTES = damaged() | st.lists(PIECE, max_size=12).map(b"".join)
BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,  # the same examples everywhere; `bench` of a search is a longer run of this test
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def answer(read: Callable[[Path], object], path: Path) -> str:
    """What a user reads, empty where the file is accepted. Any other exception fails the test."""
    try:
        read(path)
    except (UserError, SettingsError) as error:
        return str(error)
    return ""


READERS = (read_stack_file, read_stack_file, refuse_unsound_hosts, read_to_edit)


@given(raw=ANY_BYTES, read=st.sampled_from(READERS))
@BOUNDED
def test_any_bytes_give_settings_or_a_message(
    raw: bytes, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "Pulumi.mine.yaml"
    path.write_bytes(raw)
    said = answer(read, path)
    assert said.replace("\n", "").isprintable(), ascii(said)
    assert path.read_bytes() == raw
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    if read is read_stack_file and not said:
        content = read_stack_file(path)
        path.write_text(dumped(content))
        assert read_yaml(path).data == content
        assert settings_of(read_stack_file(path)["config"]) == settings_of(content["config"])


@pytest.mark.parametrize("raw", FILES[:2], ids=["dev", "gpu-team"])
def test_a_file_cut_anywhere_gives_settings_or_a_message(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.mine.yaml"
    accepted = 0
    for length in range(0, len(raw), 23):
        path.write_bytes(raw[:length])
        accepted += not answer(read_stack_file, path)
    assert accepted < len(raw) // 23  # most of them lack something
