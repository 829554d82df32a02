"""New lines of this boot's kernel log that the NVIDIA driver wrote: by journalctl, else from /dev/kmsg."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.machine.commands import run

STAND_IN = "GRAPHISTRY_CLUSTER_KMSG"
"""Names a file with records as /dev/kmsg has them, a stand-in for the kernel log where a test writes lines itself."""
KMSG = Path("/dev/kmsg")
CONTAINER = Path("/run/systemd/container")
"""There in a container, whose kernel log is the one of the computer below."""
UPTIME = Path("/proc/uptime")
DRIVER = "NVRM:"
_CHUNK = 65536


@dataclass(frozen=True)
class Line:
    """One message of the driver's; a message of several lines is one."""

    at: float
    """Seconds since 1970."""
    text: str


@dataclass(frozen=True)
class News:
    """What is new since a cursor, and the cursor for the next time."""

    lines: list[Line]
    cursor: str


def read(cursor: str) -> News | None:
    """What is new since *cursor*, from the beginning of this boot without one; None if neither source answers."""
    stand_in = os.environ.get(STAND_IN)
    if stand_in:
        return _records(Path(stand_in), cursor)
    if CONTAINER.exists():
        return None
    return _journal(cursor) or _records(KMSG, cursor)


def _journal(cursor: str) -> News | None:
    words = ["journalctl", "-k", "-q", "--no-pager", "-o", "json", "--output-fields=MESSAGE"]
    is_journals = cursor.startswith("s=")
    done = run([*words, *([f"--after-cursor={cursor}"] if is_journals else [])], seconds=30)
    if not done.succeeded and is_journals:
        # The journal was rotated away below the cursor; what is there now is all newer.
        done = run(words, seconds=30)
    entries = _entries(done.output) if done.succeeded else []
    if not entries and not is_journals:
        return None  # as in a container, or with a journal that does not keep the kernel's lines
    found = [
        Line(int(each["__REALTIME_TIMESTAMP"]) / 1e6, each["MESSAGE"])
        for each in entries
        if DRIVER in str(each.get("MESSAGE", ""))
    ]
    return News(found, entries[-1]["__CURSOR"] if entries else cursor)


def _entries(text: str) -> list[dict[str, Any]]:
    """journalctl's entries; one that is cut, or whose message is no text, is none of the driver's."""
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "__CURSOR" in entry and "__REALTIME_TIMESTAMP" in entry:
            found.append(entry)
    return found


def _records(file: Path, cursor: str) -> News | None:
    """Records `priority,number,microseconds,flags;text`; a line of a text is escaped, and further lines are fields."""
    try:
        booted = time.time() - float(UPTIME.read_text().split()[0])
        content = _content(file)
    except (OSError, ValueError, IndexError):
        return None
    last = int(cursor) if cursor.isdigit() else -1
    found = []
    newest = last
    for record in content.splitlines():
        head, _, text = record.partition(";")
        parts = head.split(",")
        if len(parts) < 3 or not (parts[1].isdigit() and parts[2].isdigit()):
            continue
        number = int(parts[1])
        newest = max(newest, number)
        if number > last and DRIVER in text:
            found.append(Line(booted + int(parts[2]) / 1e6, text.replace("\\x0a", "\n")))
    return News(found, str(newest))


def _content(file: Path) -> str:
    """Everything that can be read without waiting: /dev/kmsg gives a record a call, and refuses at its end."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    chunks = []
    try:
        while True:
            try:
                chunk = os.read(descriptor, _CHUNK)
            except BrokenPipeError:
                continue  # the record was overwritten; the next one is read
            except BlockingIOError:
                break
            if not chunk:
                break
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode(errors="replace")
