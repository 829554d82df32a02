"""What the stack file puts into the release beside the agent's own, and what hands have changed there on this machine.

Whatever somebody edits on a machine is theirs: it is found, named in the report, and stays until the machine goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Sequence

from agent.containers.compose import Compose
from agent.containers.compose_files import OVERRIDE, is_somebody_elses
from agent.failures import Failure
from agent.graphistry.custom_env import without_block
from agent.graphistry.wiring import environment_of
from agent.machine.files import opened, read_plain, replace_file, write_private
from agent.node import HOME, MARK, Node

BEFORE = f".before-{MARK}"
"""How the name of a file ends that was in the place of one of the stack file's."""
VARIABLES = "data/config/custom.env"
WATCHED = ("data/config/Caddyfile", VARIABLES)
"""What the vendor's documents have administrators edit, of which the first look keeps a sum."""

Record = Dict[str, Dict[str, Any]]
"""By a file's path in the release: the sum of what was found or written (`known`; None: there was none), of what its
services began with (`used`), of what is being written (`writing`) and of what was there before (`original`), whether
the stack file has it (`ours`), and in which folder the release was."""


def put(node: Node) -> None:
    """Write the stack file's files into the release, and put back what was in the place of those that it has no more.

    What was there keeps its bytes, mode and owner beside the new file, which has that mode and owner too. A file that
    was edited since is left as it is. Raises Failure for a link or a folder in its place or on the way to it.
    """
    record, wanted = _load(node.folder), node.specification.files
    for path, text in sorted(wanted.items()):
        with _opened(node.folder, path) as file:
            _put(node, file, path, text, record)
    for path in [each for each, entry in record.items() if entry["ours"] and each not in wanted]:
        _take_back(node.folder, path, record)
    _save(record)


def _put(node: Node, file: Path, path: str, text: str, record: Record) -> None:
    found, earlier = _sum_of(file), _before(file)
    entry = record.get(path) or {**_entry(node, found), "used": None}
    if _is_back(entry, file, found):
        entry = {**entry, "known": found, "ours": False}
    if found not in (None, _sum(text)) and _is_edited(entry, found):
        return
    is_new = not entry["ours"]
    if is_new:
        _sum_of(earlier)  # raises Failure for what cannot be replaced
        with contextlib.suppress(FileNotFoundError):
            earlier.unlink()
        entry = {**entry, "known": found, "original": found}
    elif found == entry["known"] == _sum(text) and entry["writing"] is None:
        record[path] = {**entry, "release": str(node.folder)}
        return
    # Before and after the file: whatever is cut off in between, what is there is no hand's.
    entry = {**entry, "ours": True, "release": str(node.folder)}
    record[path] = {**entry, "writing": _sum(text)}
    _save(record)
    if is_new and found is not None:
        # A second name and no new one: at no moment would Docker find nothing there, and make a folder.
        os.link(file, earlier, follow_symlinks=False)
    if earlier.exists():
        kept = earlier.lstat()
        replace_file(file, text, kept.st_mode & 0o777, (kept.st_uid, kept.st_gid))
    else:
        replace_file(file, text, 0o644)
    record[path] = {**entry, "known": _sum(text), "writing": None}
    _save(record)


def _is_edited(entry: dict[str, Any], found: str | None) -> bool:
    return found != entry["known"] and (found is None or found != entry["writing"])


def _is_back(entry: dict[str, Any], file: Path, found: str | None) -> bool:
    """Whether the stack file's is not there yet, or not any more, and the agent was cut off at that."""
    return bool(entry["ours"] and found == entry["original"] and not _before(file).exists())


def _take_back(folder: Path, path: str, record: Record) -> None:
    entry = record[path]
    with _opened(folder, path) as file:
        found, earlier = _sum_of(file), _before(file)
        original = _sum_of(earlier)
        if _is_back(entry, file, found):
            original = found
        elif found is not None and _is_edited(entry, found):
            return
        elif original is not None:
            earlier.replace(file)
            # Two names of one file stay two.
            with contextlib.suppress(FileNotFoundError):
                earlier.unlink()
        elif found is not None:
            file.unlink()
        record[path] = {**entry, "known": original, "writing": None, "ours": False}


def give_back(folder: Path) -> None:
    """Take the stack file's files out of a release that is no node's any more, but for those edited since."""
    record = _load(folder)
    for path in [each for each, entry in record.items() if entry["ours"]]:
        if record[path]["release"] == str(folder):
            _take_back(folder, path, record)
    if record:
        _save(record)


def renew(node: Node, compose: Compose) -> None:
    """Make anew the services that began with another content of a file: they still have the one of before."""
    record = _load(node.folder)
    stale = [path for path, entry in record.items() if _is_stale(path, entry)]
    if not stale:
        return
    holders = _holders(node.folder, stale, compose.services())
    if holders:
        print(f"made anew for {', '.join(stale)}: {', '.join(holders)}", flush=True)
        compose.up(holders, "--no-deps", "--force-recreate")
    for path in stale:
        record[path]["used"] = record[path]["known"]
        if not record[path]["ours"] and path not in WATCHED:
            del record[path]
    _save(record)


def _is_stale(path: str, entry: dict[str, Any]) -> bool:
    # What has become of variables Compose sees itself.
    return path != VARIABLES and bool(entry["known"] != entry["used"])


def _holders(folder: Path, paths: Sequence[str], services: dict[str, Any]) -> list[str]:
    """The services into which one of the files is mounted, by itself or with a folder of the release above it."""
    places = set()
    for path in paths:
        for each in (Path(path), *Path(path).parents):
            places |= {str(folder / each), str(folder.resolve() / each)}

    def sources(service: dict[str, Any]) -> list[str]:
        return [str(each.get("source") or "").rstrip("/") for each in service.get("volumes") or ()]

    return [name for name, service in services.items() if places & set(sources(service))]


def find_edits(node: Node) -> None:
    """Keep a sum of what administrators may edit, or that it is not there, once a machine, before the agent writes any
    of it."""
    record = _load(node.folder)
    for path in WATCHED:
        # What is no file is for the warnings to tell: it was nobody's failure before the agent read it.
        with contextlib.suppress(Failure):
            if path not in record:
                record[path] = _entry(node, _theirs(node.folder, path))
    _save(record)


def warnings(node: Node) -> list[str]:
    """A sentence for each file that hands have changed on this machine, or may have."""
    found, record = [], _load(node.folder)
    for path in sorted({*WATCHED, *record}):
        try:
            now = _theirs(node.folder, path)
        except Failure as failure:
            found.append(failure.message)
            continue
        if path not in record or not _is_edited(record[path], now):
            continue
        loss = "that goes with this machine"
        if path in node.specification.files:
            loss += ", and until it is undone the stack file's own is not put there"
        key = "configuration.env" if path == VARIABLES else "configuration.files"
        found.append(f"{path} was edited by hand: {loss}; {key} of the stack file keeps it")
    if is_somebody_elses(node.folder / OVERRIDE):
        # An image may bring it, so nobody can tell who has put it there.
        found.append(
            f"{OVERRIDE} is not the agent's: unless the image has it, it goes with this machine"
        )
    return found


def without_effect(
    variables: Mapping[str, str], services: Mapping[str, Any], *, is_read: bool
) -> list[str]:
    """A sentence for each of the stack file's *variables* that reaches no service of the merged configuration; none
    where it may do so by another name, as long as the release reads custom.env."""
    found = []
    for name, value in sorted(variables.items()):
        having = {key: environment_of(each).get(name) for key, each in services.items()}
        present = {key: each for key, each in having.items() if each is not None}
        if value in present.values():
            continue
        if present:
            found.append(
                f"configuration.env.{name} does not reach {', '.join(sorted(present))}: the release has another value"
            )
        elif not is_read:
            found.append(
                f"configuration.env.{name} reaches no service: the release hands on nothing of {VARIABLES}"
            )
    return found


def _theirs(folder: Path, path: str) -> str | None:
    """The sum of a file without what the agent writes into it; None where there is none."""
    text = _text(folder / path)
    if path == VARIABLES:
        # The agent makes it where it is not.
        text = without_block(text or "").strip()
    return None if text is None else _sum(text)


def _entry(node: Node, known: str | None) -> dict[str, Any]:
    return {
        "known": known,
        "used": known,
        "writing": None,
        "original": None,
        "ours": False,
        "release": str(node.folder),
    }


@contextlib.contextmanager
def _opened(folder: Path, path: str) -> Iterator[Path]:
    """Where a file of the release is, in its opened folder: services that run as other users have parts of `data`, and
    root follows none of their links."""
    *folders, name = path.split("/")
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(opened(folder.resolve()))
        for each in folders:
            with contextlib.suppress(FileExistsError):
                (place / each).mkdir()
            place = stack.enter_context(opened(place / each))
        yield place / name


def _before(file: Path) -> Path:
    return file.with_name(file.name + BEFORE)


def _sum_of(file: Path) -> str | None:
    text = _text(file)
    return None if text is None else _sum(text)


def _text(file: Path) -> str | None:
    try:
        return read_plain(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file() -> Path:
    return HOME / "customization.json"


def _load(folder: Path) -> Record:
    """The record, without what is of another release: only what was in `data` goes along to the next one."""
    try:
        found: Record = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    own = str(folder)
    return {
        path: entry
        for path, entry in found.items()
        if entry["release"] == own
        or (path.startswith("data/") and (entry["ours"] or entry["known"] is not None))
    }


def _save(record: Record) -> None:
    write_private(_file(), json.dumps(record, sort_keys=True))
