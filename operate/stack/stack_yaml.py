"""The YAML of a stack file as plain data, read as Pulumi reads it.

Pulumi's YAML (gopkg.in/yaml.v3) and PyYAML differ: for PyYAML ``no`` is false, for Pulumi it is text; for Pulumi
``1e3`` is a number, for PyYAML text. Here a scalar without quotes is null, true or false, a decimal number, or text.
What Pulumi takes for something else is a problem, as is a key that is text for one of the two only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.reader import ReaderError

from model.problems import Problem, UserError, counted, path_of, shown
from model.settings.stack_keys import PROJECT, place_of

LARGEST = 2**20
"""Bytes of a stack file; 200 nodes with every key take a tenth of it."""
DEEPEST = 50
"""Levels of maps and lists; the settings have six."""
MOST_VALUES = 50_000
"""Values, with what stands behind each alias counted as often as it is named."""

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {
    word: value
    for name, value in (("true", True), ("false", False))
    for word in (name, name.title(), name.upper())
}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_TAKEN_FOR_ELSE = re.compile(
    r"[-+]?0[xX][0-9a-fA-F]+|[-+]?0[oO][0-7]+|[-+]?0[bB][01]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"
)
"""What Pulumi reads as a number or a date, once the underscores between digits are gone."""
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Content:
    """What a stack file says."""

    data: Any
    """Plain data: maps with text as keys, lists, text, numbers, true, false, null. Nothing in it is shared."""
    problems: tuple[Problem, ...]
    """What can be read in more than one way."""


def read_yaml(path: Path) -> Content:
    """The content of a stack file. Raises :class:`UserError` for what cannot be read, and what is no YAML."""
    name = f"stacks/{path.name}"
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}{_about(path)}") from None
    if len(raw) > LARGEST:
        raise UserError(f"{name} is larger than {LARGEST // 2**20} MiB, which no stack file is")
    try:
        return _content(_decoded(raw))
    except ReaderError as error:
        line = _line(raw.decode("utf-8-sig")[: error.position])
        what = f"the character U+{error.character:04X}" if isinstance(error.character, int) else ""
        raise UserError(
            f"{name} is not YAML in line {line}: {what}, which no text has; delete it there"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{name} is not YAML{where}: {_said(error)}") from None
    except _NotTextError as error:
        raise UserError(f"{name} is {error}") from None
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF", which PyYAML hands to chr() as it is.
        raise UserError(
            f'{name} is not YAML: an escape such as "\\UFFFFFFFF" is no character'
        ) from None


def parsed(text: str) -> Any:
    """The plain data of a text that is a sound stack file's. Raises ``yaml.YAMLError`` for what is no YAML."""
    return _content(text).data


def dumped(content: Any) -> str:
    """Plain data as YAML that every reader takes for the same: all of its text is in quotes."""
    text: str = yaml.dump(content, Dumper=_Quoting, allow_unicode=True, sort_keys=False, width=4096)
    return text


class _Quoting(yaml.SafeDumper):
    """YAML with its text in quotes, as PyYAML leaves ``1e3`` bare, which is a number for Pulumi."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style='"'))


class _NotTextError(Exception):
    """Bytes that are no UTF-8; the message follows "is"."""


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _NotTextError("UTF-16, and Pulumi reads UTF-8: iconv -f UTF-16 -t UTF-8 FILE")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = _line(raw[: error.start]), raw[error.start]
        raise _NotTextError(
            f"not UTF-8, line {line}: the byte 0x{byte:02x}. Save the file as UTF-8; if it is Latin-1: "
            "iconv -f LATIN1 -t UTF-8 FILE"
        ) from None


def _line(before: str | bytes) -> int:
    return (before.count("\n") if isinstance(before, str) else before.count(b"\n")) + 1


def _about(path: Path) -> str:
    """What else is known of a file that cannot be opened."""
    if path.is_symlink() and not path.exists():
        return f"; it is a link to {path.readlink()}"
    return ""


def _said(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if "'\\t'" in problem:
        return f"{problem}; indent with spaces, not with tabs"
    if problem.startswith("but "):
        return f"{error.context}, {problem}"
    return problem


def _content(text: str) -> Content:
    loader = _Bounded(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is None:
        return Content(None, ())
    reader = _Reader()
    return Content(reader.value(node, ()), tuple(reader.problems))


class _Bounded(yaml.SafeLoader):
    """The tree of a YAML text, of bounded depth and size, without tags and without anchors that contain themselves."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.level = 0
        self.measured: dict[int, tuple[int, int]] = {}
        """Values and levels below each node that is complete."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # its stub has no types
        if getattr(event, "tag", None) not in (None, "!"):
            self.refuse(f"the tag {event.tag} is not read here; put text in quotes", event)
        self.level += 1
        if self.level > DEEPEST:
            self.refuse(f"maps and lists within each other more than {DEEPEST} deep", event)
        node = super().compose_node(parent, index)
        self.level -= 1
        if node is not None and id(node) not in self.measured:
            if isinstance(event, yaml.AliasEvent):
                self.refuse(f"*{event.anchor} stands within what it is an alias of", event)
            self.measure(node, event)
        return node

    def measure(self, node: yaml.Node, event: Any) -> None:
        below = [self.measured[id(each)] for each in _children(node)]
        values = 1 + sum(size for size, _ in below)
        depth = 1 + max((depth for _, depth in below), default=0)
        if values > MOST_VALUES:
            self.refuse(f"with its aliases this is more than {MOST_VALUES} values", event)
        if depth > DEEPEST:
            self.refuse(f"maps and lists within each other more than {DEEPEST} deep", event)
        self.measured[id(node)] = values, depth

    def refuse(self, problem: str, event: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for each in node.value if not isinstance(node, yaml.ScalarNode) else ():
        yield from each if isinstance(each, tuple) else (each,)


@dataclass
class _Reader:
    """Makes plain data of a tree, and notes what can be read in more than one way."""

    problems: list[Problem] = field(default_factory=list)

    def value(self, node: yaml.Node, place: tuple[str | int, ...]) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, (*place, index)) for index, each in enumerate(node.value)]
        return self.scalar(node, place)

    def scalar(self, node: yaml.Node, place: tuple[str | int, ...]) -> Any:
        text = self.text(node, place)
        if _is_quoted(node):
            return text
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _WHOLE.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
        if _is_taken_for_else(text):
            allowed = "text in quotes, or a decimal number of at most 18 digits"
            self.note(place, f"{_bare(text)} in line {_at(node)}", allowed, _quoted(text))
        return text

    def text(self, node: yaml.Node, place: tuple[str | int, ...]) -> str:
        """The text of a scalar, of whole characters."""
        text: str = node.value
        if _HALF_CHARACTER.search(text):
            got = f"half a character in line {_at(node)}"
            self.note(place, got, "whole characters", "write the character itself, not its escapes")
        return _HALF_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)

    def mapping(self, node: yaml.MappingNode, place: tuple[str | int, ...]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, list[int]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE and not _is_quoted(key_node):
                merged = {**self.merged(value_node, place), **merged}
                continue
            key = self.key(key_node, place)
            lines.setdefault(key, []).append(_at(key_node))
            own[key] = self.value(value_node, (*place, key))
        for key, found in lines.items():
            if len(found) > 1:
                where = ", ".join(map(str, found[:-1]))
                got = f"{place_of(key)} stands twice, in line {where} and in line {found[-1]}"
                hint = "take one of them out, or give it another name"
                self.note((*place, key), got, "each key once", hint)
        return {**merged, **own}

    def merged(self, node: yaml.Node, place: tuple[str | int, ...]) -> dict[str, Any]:
        """The keys that ``<<`` takes over: of one map, or of a list of maps of which the first counts."""
        found: dict[str, Any] = {}
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(each, yaml.MappingNode):
                found = {**self.mapping(each, place), **found}
            else:
                got = f"{shown(self.value(each, place))} in line {_at(node)}"
                self.note((*place, "<<"), got, "an alias of a map, or a list of such", "<<: *name")
        return found

    def key(self, node: yaml.Node, place: tuple[str | int, ...]) -> str:
        if not isinstance(node, yaml.ScalarNode):
            got = f"a map or list as the key in line {_at(node)}"
            self.note((*place, "?"), got, "text as a key")
            return "?"
        key = self.text(node, (*place, node.value))
        if not _is_quoted(node) and (
            (node.tag not in (_TEXT, "tag:yaml.org,2002:value")) or _is_taken_for_else(key)
        ):
            got = f"the key {_bare(key)} in line {_at(node)}, which YAML takes for {_kind(node)}"
            self.note((*place, key), got, "text as a key", f"{_quoted(key)}:")
        return key

    def note(self, place: tuple[str | int, ...], got: str, allowed: str, hint: str = "") -> None:
        self.problems.append(Problem(path_in_file(place), got, allowed, hint))


def path_in_file(place: Sequence[str | int]) -> str:
    """Where something stands, as the settings name it: ``leader.profile``, ``aws:region``."""
    if len(place) < 2 or place[0] != "config":
        return path_of(place) or "(the whole file)"
    first, rest = place_of(str(place[1]).removeprefix(f"{PROJECT}:")), path_of(place[2:])
    return f"{first}{'' if not rest or rest.startswith('[') else '.'}{rest}"


def _is_taken_for_else(text: str) -> bool:
    return text[:1] != "_" and _TAKEN_FOR_ELSE.fullmatch(text.replace("_", "")) is not None


def _is_quoted(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.style)


def _at(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _bare(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:20]}… ({counted(len(text), 'character')})"


def _quoted(text: str) -> str:
    return f"quote it: {json.dumps(text[:40], ensure_ascii=False)}"


def _kind(node: yaml.Node) -> str:
    if node.tag == "tag:yaml.org,2002:bool":
        return "true" if node.value.lower() in ("yes", "on", "true") else "false"
    kinds = {"null": "nothing", "timestamp": "a date"}
    return kinds.get(node.tag.rpartition(":")[2], "a number")
