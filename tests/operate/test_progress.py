"""The view of a run: the log of the real engine, recorded at a rehearsal, drawn as a terminal of a size draws it.

``recorded/`` has what `./cluster up sandbox` and `down` logged and printed with SANDBOX_MACHINES=off, the first with no
g6.12xlarge to be had; the resources' properties and Pulumi's debug messages are left out.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from operate.stack import watched_run
from operate.stack.progress import Progress, deployed_nodes
from operate.stack.watched_run import GrowingFile, shown
from operate.terminal.progress_view import Frame, NodeProgress, Shown

RECORDED = Path(__file__).parent / "recorded"
NODES = ["leader", "large", "small"]
SIZES = [(80, 24), (100, 30)]


def progress_of(name: str, *, until: str = "", nodes: list[str] = NODES) -> Progress:
    """What a recorded run was like before the first event with a text, or at its end; an event takes a second."""
    found = Progress("sandbox", nodes, 0)
    for now, line in enumerate((RECORDED / f"{name}.jsonl").read_text().splitlines()):
        if until and until in line:
            break
        found.take(json.loads(line), now)
    return found


def drawn(shown: Shown, width: int, height: int, now: float = 1000) -> list[str]:
    """The lines of a picture."""
    screen = io.StringIO()
    console = Console(
        file=screen, width=width, height=height, force_terminal=True, color_system=None
    )
    console.print(Frame(shown, 0, now))
    lines = screen.getvalue().splitlines()
    assert all(cell_len(line) < width for line in lines), lines
    assert len(lines) < height
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_each_node_has_a_line_that_says_how_far_it_is(width: int, height: int) -> None:
    at_work = progress_of("refused_launch", until="is not ready").shown()
    leader, large, small, bar = drawn(at_work, width, height)
    assert re.fullmatch(
        r"leader  (ready|waiting) +\d+ s  not booted; this sandbox records .*", leader
    )
    assert re.fullmatch(r"large   waiting +\d+ s", large)
    assert re.fullmatch(r"small   waiting +\d+ s  not booted; .*", small)
    assert re.search(r"\d+ of \d+ resources  1000 s$", bar)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_node_that_failed_says_so_and_its_seconds_stand_still(width: int, height: int) -> None:
    at_end = progress_of("refused_launch")
    at_end.end(succeeded=False)
    first = drawn(at_end.shown(), width, height)
    assert re.fullmatch(r"large   failed +\d+ s  AWS gives it no machine", first[1])
    assert first[:3] == drawn(at_end.shown(), width, height, now=2000)[:3]


def test_resources_are_counted_once_and_those_of_the_state_from_the_beginning() -> None:
    begun = Progress("sandbox", NODES, 91).shown()
    assert (begun.done, begun.total) == (0, 91)
    at_end = progress_of("refused_launch")
    at_end.end(succeeded=True)
    assert at_end.shown().done == at_end.shown().total


def test_nodes_end() -> None:
    at_work = progress_of("destroyed", until="summaryEvent")
    assert [row.phase for row in at_work.shown().rows] == ["ending"] * 3
    at_work.end(succeeded=True)
    assert [(row.phase, row.message) for row in at_work.shown().rows] == [("ended", "")] * 3


def test_a_resource_is_its_nodes_whose_name_is_the_longest() -> None:
    progress = Progress("sandbox", ["gpu", "gpu-2"], 0)
    urn = "urn:pulumi:sandbox::graphistry-cluster::a:index:Cluster$a:index:FollowerNode$b:c:Group"
    step = {"op": "create", "urn": f"{urn}::graphistry-sandbox-gpu-2-group"}
    progress.take({"resourcePreEvent": {"metadata": step}}, 1)
    assert [row.phase for row in progress.shown().rows] == ["", "making"]


def test_nodes_are_those_of_the_state_the_leader_first() -> None:
    kind = "urn:pulumi:sandbox::graphistry-cluster::graphistry-cluster:index:Cluster$graphistry-cluster:index"
    names = ("FollowerNode::graphistry-sandbox-a", "LeaderNode::graphistry-sandbox-leader")
    others = [{"urn": f"{kind}:LeaderNode$aws:ec2/instance:Instance::graphistry-sandbox-leader"}]
    assert deployed_nodes([{"urn": f"{kind}:{each}"} for each in names] + others, "sandbox") == [
        "leader",
        "a",
    ]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_more_nodes_than_lines_leave_those_in_trouble_on_the_screen(
    width: int, height: int
) -> None:
    rows = [NodeProgress(f"follower-{n}", phase="ready", message="x" * 200) for n in range(60)]
    rows[50] = NodeProgress("follower-50", phase="failed", message="界" * 100)
    lines = drawn(Shown(tuple(rows), "resources", 5, 10), width, height)
    assert any("follower-50  failed" in line for line in lines)
    assert re.fullmatch(r"and \d+ more: \d+ ready", lines[-2])


def test_a_message_cannot_move_the_cursor() -> None:
    row = NodeProgress("small", phase="waiting", message="\x1b[2Ja\r\nb")
    assert (
        drawn(Shown((row,), "resources", 0, 0), 80, 24)[0] == "small  waiting             [2Ja  b"
    )


def test_what_comes_in_many_diagnostics_has_one_heading() -> None:
    progress = Progress("sandbox", NODES, 0)
    said = [
        {"urn": "a::b", "severity": "info#err", "message": text}
        for text in ("Traceback\n", "  line 1\n", "\n")
    ]
    lines = [line for each in said for line in progress.take({"diagnosticEvent": each}, 0)]
    assert lines == ["b:", "  Traceback", "    line 1"]


def replay(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] | None
) -> str:
    """What a terminal of a size has shown of a recorded run at its end; None is no terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(watched_run, "LOOK_SECONDS", 0.01)
    if size:
        width, height = size
        monkeypatch.setattr(
            watched_run,
            "Console",
            lambda **_: Console(
                file=stream, width=width, height=height, force_terminal=True, color_system=None
            ),
        )
    else:
        monkeypatch.setattr("sys.stdout", stream)
    printed, events = tmp_path / "printed", tmp_path / "events"
    with shown(printed, events, Progress("sandbox", NODES, 0) if size else None) as end:
        events.write_bytes((RECORDED / f"{name}.jsonl").read_bytes())
        printed.write_bytes((RECORDED / f"{name}.txt").read_bytes())
        end(name != "refused_launch")
    return stream.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_a_failure_is_told_whole_and_once_at_a_terminal(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = replay("refused_launch", tmp_path, monkeypatch, size)
    for each in (
        "graphistry-sandbox-large-ready:",
        "  error: exit status 1: running",
        "  large is not ready: AWS gives it no machine",
        "    hint     AWS has no such machine free in these zones now: add instance types to the profile",
        "error: update failed",
        "    2 errored",
    ):
        assert text.count(each) == 1, each
    assert "Diagnostics" not in text  # all of it stands above
    assert text.index("hint  ") < text.rindex("large   failed") < text.index("Resources:")


def test_what_pulumi_says_and_its_events_do_not_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    monkeypatch.setattr(watched_run, "Console", lambda **_: console)
    printed = tmp_path / "printed"
    with shown(printed, tmp_path / "events", Progress("sandbox", NODES, 0)):
        printed.write_text(
            "error: the stack is currently locked\n"
            "Diagnostics:\n  a:b:C (d):\n    warning: old\n\nResources:\n    1 errored"
        )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "error: the stack is currently locked" in text
    assert "Diagnostics:\n  a:b:C (d):\n    warning: old\n\nResources:\n    1 errored\n" in text


def test_without_a_terminal_only_changes_are_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = replay("refused_launch", tmp_path, monkeypatch, None).splitlines()
    begun = [line for line in lines if re.search(r"creating \(\d+s\) *$|refreshing|^@", line)]
    assert begun == []
    assert "\x1b" not in "".join(lines)
    recorded = (RECORDED / "refused_launch.txt").read_text()
    made = [line for line in recorded.splitlines() if " created (" in line]
    assert [line for line in lines if " created (" in line] == made
    assert "\n".join(lines).rstrip().endswith(recorded[recorded.index("Diagnostics:") :].rstrip())


def test_what_is_said_every_half_minute_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watched_run, "LOOK_SECONDS", 0.01)
    printed = tmp_path / "printed"
    opening = " +  command:local:Command graphistry-sandbox-small-ready creating"
    with shown(printed, tmp_path / "events", None):
        printed.write_text(
            f"{opening} (31s) small: start (30 s)\n{opening} (61s) small: start (60 s)\n"
            f"{opening} (70s) small: verify (70 s)\n"
        )
    assert capsys.readouterr().out.splitlines() == [
        f"{opening} (31s) small: start (30 s)",
        f"{opening} (70s) small: verify (70 s)",
    ]


def test_a_line_counts_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    growing = GrowingFile(path)
    assert list(growing.lines()) == []
    with path.open("a") as file:
        file.write("a\nb")
        file.flush()
        assert list(growing.lines()) == ["a"]
        file.write("c\nd")
    assert [*growing.lines(), *growing.rest()] == ["bc", "d"]
