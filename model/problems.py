"""Problems in a stack file and how they are told: where, what was got, what is allowed, how to fix
it.

Everything is shown in the notation of the stack file, so that a reader never meets Python in it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_LONGEST_SHOWN = 80
_MOST_SHOWN = 30
"""Problems at once; more come from one mistake that is everywhere."""
# A user name and password, or the query, which often carries a signature.
_LOGIN_IN_LINK = re.compile(r"(?<=://)[^/]*(?=@)|(?<=\?).*", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Problem:
    """One thing to fix. `hint` is empty when there is nothing to add to `allowed`."""

    path: str
    got: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        lines = [self.path, f"got:     {self.got}", f"allowed: {self.allowed}"]
        if self.hint:
            lines.append(f"hint:    {self.hint}")
        return "\n".join(lines)


class SettingsError(Exception):
    """A stack file that cannot become a cluster; `problems` has at least one entry.

    `file` is shown in front of them, where it is known.
    """

    def __init__(self, problems: tuple[Problem, ...], file: str = "") -> None:
        super().__init__(problems)
        self.problems = problems
        self.file = file

    def __str__(self) -> str:
        count = counted(len(self.problems), "problem")
        heading = f"{self.file} has {count}:" if self.file else f"The settings have {count}:"
        left = len(self.problems) - _MOST_SHOWN
        more = [f"and {left} more, once these are fixed"] if left > 0 else []
        return "\n\n".join([heading, *numbered(self.problems[:_MOST_SHOWN]), *more])


def numbered(problems: tuple[Problem, ...]) -> Iterator[str]:
    """Each problem as it stands in a numbered list."""
    width = len(str(len(problems)))
    for number, problem in enumerate(problems, start=1):
        first, *others = str(problem).splitlines()
        indent = " " * (width + 4)
        yield "\n".join([f"  {number:>{width}}. {first}", *(indent + line for line in others)])


@dataclass(frozen=True)
class Finding:
    """A problem and the paths of all settings that it follows from."""

    problem: Problem
    paths: tuple[str, ...]


def without_consequences(rules: Iterable[Finding], wrong: Iterable[Finding]) -> tuple[Finding, ...]:
    """The broken rules that do not follow from a setting already known to be wrong."""
    suspects = [path for finding in wrong for path in finding.paths]
    return tuple(
        rule
        for rule in rules
        if not any(_overlap(path, suspect) for path in rule.paths for suspect in suspects)
    )


def without_overlap(problems: Iterable[Problem], known: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems at places about which nothing is *known* to be wrong already."""
    places = [each.path for each in known]
    return tuple(
        each for each in problems if not any(_overlap(each.path, place) for place in places)
    )


def _overlap(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def counted(count: int, noun: str) -> str:
    """A number of things: "1 host", "2 hosts"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def path_of(location: Iterable[int | str]) -> str:
    """A place as the reader writes it: followers.big.availabilityZones[0]."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += ("." if path else "") + (step if _PLAIN_KEY.fullmatch(step) else shown(step))
    return path


def shown(value: object) -> str:
    """A value as one short line in the stack file's notation; of maps and lists only the
    outline."""
    match value:
        case None:
            return "nothing (null)"
        case Mapping():
            return f"a map with {shown_keys(map(str, value))}" if value else "an empty map"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case bool() | float():
            return json.dumps(value)
        case int():
            return str(value) if value.bit_length() < 256 else "a number of more than 70 digits"
        case str():
            text = _LOGIN_IN_LINK.sub("…", value) if "://" in value else value
            text = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
            return json.dumps(text, ensure_ascii=not text.isprintable())
        case _:
            return f"something that is not plain data ({type(value).__name__})"


def shown_keys(keys: Iterable[str]) -> str:
    """Names of keys as a phrase: "the keys forge, streamgl, dask"; at most twenty."""
    names = [path_of((key,)) for key in keys]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"the key{'s' if len(names) > 1 else ''} {', '.join(names[:20])}{more}"


def shown_choices(values: Iterable[object]) -> str:
    """Allowed values as a phrase: '"elastic", "bursting" or "provisioned"'."""
    *others, last = map(shown, values)
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(got: object, candidates: Iterable[str], *, likeness: float = 0.6) -> str:
    """A hint that names the candidate most like `got`, or "" when none is close; see `closest`."""
    close = closest(got, candidates, likeness=likeness)
    return f"did you mean {shown(close)}?" if close else ""


def closest(got: object, candidates: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The candidate most like `got`, or None when none is close.

    Upper and lower case are equal. `likeness` is difflib's ratio, from 0 (anything) to 1 (equal).
    """
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    text = str(got)[:_LONGEST_SHOWN].lower()
    close = difflib.get_close_matches(text, by_lower_case, n=1, cutoff=likeness)
    return by_lower_case[close[0]] if close else None


class UserError(Exception):
    """Something the user can mend; the message says what was got, what is allowed, and what to do."""
