"""Files of variables and ${...} in values, as Docker Compose reads them."""

import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(.*)$")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_variables(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file, interpolated with those above them and with `known`; {} without file.

    Single quotes keep a value as it is. Raises ValueError with the line that cannot be read, never
    with its value: it may be a secret.
    """
    found: dict[str, str] = {}
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"{path} line {number}: NAME=value is expected")
        name, value = match.groups()
        found[name] = _value(value.strip(), {**known, **found})
    return found


def _value(text: str, variables: Mapping[str, str]) -> str:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\n", "\n")
    else:
        text = re.sub(r"\s+#.*$", "", text)
    return interpolate(text, variables)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`text` with $NAME, ${NAME}, ${NAME:-default}, ${NAME:?message} and ${NAME:+other} put in.

    $$ is a dollar sign; without the colon, an empty variable counts as set. A variable that is not
    set is empty.
    """
    parts: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        rest = text[dollar + 1 :]
        name = _NAME.match(rest)
        if rest.startswith("$"):
            parts.append("$")
            position = dollar + 2
        elif rest.startswith("{"):
            end = _closing(text, dollar + 1)
            parts.append(_braced(text[dollar + 2 : end], variables))
            position = end + 1
        elif name:
            parts.append(variables.get(name.group(), ""))
            position = dollar + 1 + name.end()
        else:
            raise ValueError("a $ is followed by no name: write $$ for a dollar sign")
    return "".join([*parts, text[position:]])


def _closing(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError("a ${ is not closed by }")


def _braced(inside: str, variables: Mapping[str, str]) -> str:
    match = _NAME.match(inside)
    if match is None:
        raise ValueError("a ${ is followed by no name")
    value = variables.get(match.group())
    operator, other = inside[match.end() :], ""
    for candidate in (":-", ":?", ":+", "-", "?", "+"):
        if operator.startswith(candidate):
            operator, other = candidate, operator[len(candidate) :]
            break
    is_set = bool(value) if operator.startswith(":") else value is not None
    kind = operator[-1:]
    if kind == "-":
        return (value or "") if is_set else interpolate(other, variables)
    if kind == "+":
        return interpolate(other, variables) if is_set else ""
    if kind == "?" and not is_set:
        raise ValueError(f"required variable {match.group()} is missing a value: {other}")
    return value or ""
