"""The agent's block in the release's custom.env; the rest of that file is whoever's it was."""

from __future__ import annotations

import re

from agent.node import MARK

BEGIN, END = f"# >>> {MARK}", f"# <<< {MARK}"


def with_block(text: str, variables: dict[str, str]) -> str:
    """*text* with our block replaced where it was, or added at the end; everything else as it is."""
    block = [BEGIN, *(f"{name}={value}" for name, value in variables.items()), END]
    lines = text.splitlines()
    if BEGIN in lines and END in lines[lines.index(BEGIN) :]:
        first = lines.index(BEGIN)
        last = lines.index(END, first)
        lines[first : last + 1] = block
    else:
        # Of a block whose end is gone, nobody knows what else was lost: the new one at the end wins.
        lines = [line for line in lines if line not in (BEGIN, END)] + block
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A value that Compose takes as it is: without quotes it replaces `$NAME`, and ends at ` #` (tried with 2.26.1)."""
    return value if re.fullmatch(r"[\w./:@%+,=-]*", value, re.ASCII) else f"'{value}'"


def without_block(text: str) -> str:
    """*text* without the block; one whose end is gone stays, since nobody knows what else was lost."""
    lines = text.splitlines()
    if BEGIN not in lines or END not in lines[lines.index(BEGIN) :]:
        return text
    first = lines.index(BEGIN)
    del lines[first : lines.index(END, first) + 1]
    return "".join(f"{line}\n" for line in lines)
