"""Whatever a stack file contains, the answer is settings or a list of problems in plain words."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.problems import Problem, SettingsError
from model.settings.aws import Settings
from model.settings.fields import sections
from model.settings.read import parse
from tests.model.examples import FULL, SMALLEST, changed

# What pydantic and Python would say where this program speaks to a person.
JARGON = re.compile(
    r"Input|should (be|match)|Extra inputs|valid (string|integer|list)|pydantic|\bNone\b|\bTrue\b"
    r"|\bFalse\b|\bdict|\btuple\b|\bstr\b|\bint\b|\bfloat\b|_type\b|\W'|'\W"
)
WRONG_VALUES: list[Any] = [None, True, -1, 2.5, 10**80, "", "x", [], ["x", "x"], [{}], {}, {"x": 1}]

KEYS = sorted(
    {field.alias or "" for _, each in sections(Settings) for field in each.model_fields.values()}
)
# All of Unicode, halves of characters included: JSON can spell them, and Python keeps them.
LETTERS = st.characters(codec=None)
NAMES = st.sampled_from([*KEYS, "t4", "big", "small", "leader", "[key]", "a.b"]) | st.text(
    max_size=5
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=8) | NAMES
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a stack file."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(base: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result: Any = copy.deepcopy(base)
    target = result
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return dict(result)


def problems_of(raw: Any) -> tuple[Problem, ...]:
    """The problems of a stack file, none if it is accepted; any other exception fails the test."""
    try:
        parse(raw)
    except SettingsError as error:
        return error.problems
    return ()


def assert_settings_or_problems(raw: Any) -> None:
    str(SettingsError(problems_of(raw))).encode("utf-8")


@given(JSON)
def test_any_input_gives_settings_or_problems(raw: Any) -> None:
    assert_settings_or_problems(raw)


@given(st.dictionaries(st.sampled_from(list(FULL)), JSON))
def test_any_content_of_the_sections_gives_settings_or_problems(raw: dict[str, Any]) -> None:
    assert_settings_or_problems({**SMALLEST, **raw})


@given(st.lists(st.tuples(st.sampled_from(list(places(FULL))), JSON), min_size=1, max_size=4))
def test_any_damage_to_a_good_file_gives_settings_or_problems(
    damages: list[tuple[tuple[Any, ...], Any]],
) -> None:
    raw = FULL
    for path, value in damages:
        if path in set(places(raw)):
            raw = replaced(raw, path, value)
    assert_settings_or_problems(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {True: 1, None: 2, (1, 2): 3},
        {"followers": {True: {"profile": "t4"}, None: None, 7: {}, b"x": {}}},
        {"followers": {"[key]": {"profile": 3}, "Bad": {"[key]": 1}}},
        {"tags": {"[key]": 1, "\ud800": "\ud800", "\x1b[31m": "\x1b[31m"}},
        {"leader": object(), "network": {"vpcId": b"vpc"}},
        "graphistry",
        None,
    ],
    ids=str.split("keys names problems surrogates objects text nothing"),
)
def test_odd_keys_and_values_are_problems_that_any_terminal_can_show(raw: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(raw)
    text = str(refused.value)
    assert "\x1b" not in text
    text.encode("utf-8")


def test_depth_is_no_way_to_a_traceback() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    assert_settings_or_problems({**SMALLEST, "followers": deep, "tags": {"a": deep}})


@pytest.mark.parametrize("path", list(places(FULL)), ids=str)
def test_no_wrong_value_is_answered_in_the_words_of_a_programmer(path: tuple[Any, ...]) -> None:
    problems = [each for value in WRONG_VALUES for each in problems_of(replaced(FULL, path, value))]
    assert problems
    for problem in problems:
        assert problem.path
        assert problem.got
        assert problem.allowed
        assert not JARGON.search(str(problem))


def field_paths() -> list[str]:
    """The path of every key a stack file may have, through entries that FULL has."""
    return [
        f"{path}.{field.alias}".lstrip(".")
        .replace("gpuProfiles.<name>", "gpuProfiles.l40s")
        .replace("followers.<name>", "followers.big")
        .replace("image.lock.<name>", "image.lock.us-east-1")
        for path, section in sections(Settings)
        for field in section.model_fields.values()
    ]


@pytest.mark.parametrize("path", field_paths())
def test_every_field_says_in_words_what_it_accepts(path: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(changed(FULL, {path: object()}))
    allowed = {problem.path: problem.allowed for problem in refused.value.problems}
    assert allowed[path]
