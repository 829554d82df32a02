"""The release of a stack file, written into it; comments, order and everything else stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from model.problems import UserError
from model.settings.aws import Settings
from model.settings.stack_keys import PROJECT
from operate.stack.stack_file import read_to_edit, settings_of, write_stack_file
from operate.stack.stack_yaml import parsed

KEY = f"{PROJECT}:release"
_VALUE = re.compile(r"""(?P<before>\s*[\w"']+:\s*)(?P<value>"[^"]*"|'[^']*'|[^\s#]+)?""")


def write_release(stack_file: Path, values: Mapping[str, str]) -> None:
    """Set keys of `release`, in the place that each has or at the section's end.

    Written as text: what parses YAML takes a comment for a part of what stands above it, and would move some. Raises
    :class:`UserError` with the lines to write by hand where the file is written so that this does not do it.
    """
    before = stack_file.read_text()
    _, content = read_to_edit(stack_file)
    section = content["config"].get(KEY)
    if not section:
        after = _with_section(before, values)
    elif section.fa.flow_style():
        after = _in_one_line(before, section.lc.line, {**section, **values})
    else:
        after = _with_lines(before, section, values)
    if not _says(after, values):
        lines = "\n".join(f"    {name}: {json.dumps(value)}" for name, value in values.items())
        raise UserError(
            f"stacks/{stack_file.name} is left as it is; write below {KEY} by hand:\n{lines}"
        )
    write_stack_file(stack_file, after)


def _with_section(text: str, values: Mapping[str, str]) -> str:
    """The first section of the file; an empty one that is there goes."""
    text = re.sub(rf"^  {KEY}:[ \t]*(\{{\}}|null|~)?[ \t]*\n", "", text, flags=re.MULTILINE)
    lines = ["  # Written by `./cluster publish`.", f"  {KEY}:"]
    lines += [f"    {name}: {json.dumps(value)}" for name, value in values.items()]
    added = "\n".join([*lines, "", ""])
    return re.sub(r"^config:.*\n", lambda match: match[0] + added, text, count=1, flags=re.M)


def _in_one_line(text: str, line: int, values: Mapping[str, str]) -> str:
    """The section where it is a map in braces on one line."""
    lines = text.splitlines(keepends=True)
    inside = ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items())
    lines[line] = re.sub(r"\{[^{}]*\}", lambda _: f"{{{inside}}}", lines[line], count=1)
    return "".join(lines)


def _with_lines(text: str, section: object, values: Mapping[str, str]) -> str:
    """The section where it has a line for each key."""
    lines = text.splitlines()
    places = {name: section.lc.key(name) for name in section}  # type: ignore[attr-defined]  # ruamel's map has no types
    column = min(column for _, column in places.values())
    last = max(line for line, _ in places.values())
    added = []
    for name, value in values.items():
        if name not in places:
            added.append(f"{' ' * column}{name}: {json.dumps(value)}")
            continue
        line, _ = places[name]
        lines[line] = _VALUE.sub(
            lambda match, value=value: f"{match['before'].rstrip()} {json.dumps(value)}",  # type: ignore[misc]  # mypy knows no default of a lambda
            lines[line],
            count=1,
        )
    lines[last + 1 : last + 1] = added
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _says(text: str, values: Mapping[str, str]) -> bool:
    """Whether a text is a stack file with a release of these values."""
    try:
        settings = settings_of(parsed(text)["config"])
    except Exception:  # whatever is wrong with it, it is not written
        return False
    return isinstance(settings, Settings) and all(
        getattr(settings.release, name) == value for name, value in values.items()
    )
