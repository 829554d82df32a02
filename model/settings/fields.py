"""Pydantic's errors, told again in the words of the field they are about.

Pydantic says what its own types missed ("Input should be a valid tuple"). This module looks up the
place of each error in the models and says what the field accepts instead: from its `Words`, or for
numbers, choices and sections from the type itself. It also repairs the input, so that the rules
that span several settings can run over the rest.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import get_annotations
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from model.problems import (
    Finding,
    Problem,
    closest,
    did_you_mean,
    path_of,
    shown,
    shown_choices,
    shown_keys,
)

# A host's key is its public one.
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|token|secret|credential|(?<!host)key", re.IGNORECASE
)
_REFUSAL = "refusal"
# Pydantic appends this to the place of a map's key when the key itself is wrong.
_KEY_MARK = "[key]"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_SPELLINGS_OF_BOOL = ("true", "false", "yes", "no", "on", "off")

_Location: TypeAlias = tuple[int | str, ...]
_Model: TypeAlias = type[BaseModel]


@dataclass(frozen=True)
class Words:
    """Metadata of a field: what it accepts, as a noun phrase that can follow "allowed:"."""

    text: str
    when_missing: str = "this key is required"
    """How to come by a value, where the key is required and missing."""
    fewest: int = 1
    """Of a list, how many entries it has at least if it has any."""


@dataclass(frozen=True)
class StandIn:
    """Metadata of a required field: what `repaired` puts in place of a missing or wrong value."""

    value: object


def refusal(hint: str, *, got: str = "", allowed: str = "") -> PydanticCustomError:
    """The error that a field's own check raises; `got` and `allowed` default to value and field. With a `got`, hint and
    it are shown even where the key sounds like a secret."""
    return PydanticCustomError(_REFUSAL, "{hint}", {"hint": hint, "got": got, "allowed": allowed})


def findings_of(error: ValidationError, model: _Model) -> tuple[Finding, ...]:
    """What a validation of `model` found: one finding per wrong value, missing or unknown key."""
    return tuple(
        _finding(details, model)
        for details in error.errors(include_url=False)
        # Our lists need one entry at most, so one with entries is short only of right ones.
        if not (details["type"] == "too_short" and details["input"])
    )


def _finding(details: ErrorDetails, model: _Model) -> Finding:
    location = details["loc"]
    if details["type"] in ("extra_forbidden", "invalid_key"):
        return _unknown_key(location, model)
    if _is_wrong_key(location, model):
        return _wrong_value(details, location[:-1], _slot(model, location[:-2]).key(), location[-2])
    return _wrong_value(details, location, _slot(model, location), details["input"])


def _unknown_key(location: _Location, model: _Model) -> Finding:
    *section, key = location
    allowed = _keys_of(_slot(model, section).expected)
    path, meant = path_of(location), closest(key, allowed)
    hint = did_you_mean(key, allowed) or _where_it_belongs(str(key), model)
    problem = Problem(path, "a key that does not exist here", shown_keys(allowed), hint)
    return Finding(problem, (path, path_of([*section, meant])) if meant else (path,))


def _where_it_belongs(key: str, model: _Model) -> str:
    homes = [path for path, section in sections(model) if path and key in _keys_of(section)]
    return f"{key} is a key of {' and of '.join(homes)}" if homes else ""


def _wrong_value(details: ErrorDetails, location: _Location, slot: _Slot, value: object) -> Finding:
    context = details.get("ctx", {}) if details["type"] == _REFUSAL else {}
    if details["type"] == "missing":
        got, hint = "nothing", slot.when_missing()
    elif any(_SECRET_KEY.search(str(step)) for step in location) and not context.get("got"):
        got, hint = "a value that is not shown, as its key sounds like a secret", ""
    else:
        got, hint = context.get("got") or shown(value), context.get("hint") or slot.hint(value)
    path = path_of(location)
    return Finding(Problem(path, got, context.get("allowed") or slot.words(), hint), (path,))


def repaired(raw: Mapping[Any, Any], error: ValidationError, model: _Model) -> dict[Any, Any]:
    """A copy of `raw` that passes: each wrong value removed, or replaced if its key is required."""
    result = dict(raw)
    for details in error.errors(include_url=False):
        location, stand_in = _place_to_repair(details["loc"], model)
        result = _with_replacement(result, location, stand_in)
    return result


def _place_to_repair(location: _Location, model: _Model) -> tuple[_Location, StandIn | None]:
    """The innermost key of a map at or above `location`, as lists are repaired as a whole."""
    if _is_wrong_key(location, model):
        return location[:-1], None
    slot = _Slot(model)
    for taken, step in enumerate(location, start=1):
        inner = slot.inside(step)
        if inner is None:
            return location[:taken], None
        slot = inner
        if slot.kind is tuple:
            return location[:taken], slot.metadata_of(StandIn)
    return location, slot.metadata_of(StandIn)


def _with_replacement(
    raw: Mapping[Any, Any], location: Sequence[int | str], stand_in: StandIn | None
) -> dict[Any, Any]:
    step, *below = location
    # Pydantic names a key that is no valid text by some other text. No map of ours can have such a
    # key, so all of them go.
    copied: dict[Any, Any] = {
        key: raw[key] for key in raw if isinstance(key, str) and not _HALF_CHARACTER.search(key)
    }
    if below:
        if isinstance(copied.get(step), dict):
            copied[step] = _with_replacement(copied[step], below, stand_in)
    elif stand_in is not None:
        copied[step] = stand_in.value
    else:
        copied.pop(step, None)
    return copied


_Metadata = TypeVar("_Metadata")


@dataclass(frozen=True)
class _Slot:
    """What the models expect at one place, without the `Optional` and `Annotated` around it."""

    expected: Any
    metadata: tuple[object, ...] = ()
    has_default: bool = False

    @property
    def kind(self) -> object:
        return get_origin(self.expected) or self.expected

    def metadata_of(self, wanted: type[_Metadata]) -> _Metadata | None:
        return next((item for item in reversed(self.metadata) if isinstance(item, wanted)), None)

    def inside(self, step: int | str) -> _Slot | None:
        """The slot one step further in, or None where the models know no such key."""
        if _is_model(self.expected):
            field = _keys_of(self.expected).get(str(step))
            return None if field is None else _slot_of(field)
        if self.kind is dict:
            return _unwrapped(get_args(self.expected)[1])
        return _unwrapped(get_args(self.expected)[0]) if self.kind is tuple else None

    def key(self) -> _Slot:
        """The slot of the keys of a map."""
        return _unwrapped(get_args(self.expected)[0])

    def words(self) -> str:
        """What is allowed here, as a noun phrase."""
        words = self.metadata_of(Words)
        if words is not None:
            return words.text
        if _is_model(self.expected):
            return f"a map with {shown_keys(_keys_of(self.expected))}"
        if self.kind is Literal:
            return shown_choices(get_args(self.expected))
        if self.expected is bool:
            return "true or false"
        return self._range()

    def when_missing(self) -> str:
        """What to do where nothing stands here and something must."""
        return (self.metadata_of(Words) or Words("")).when_missing

    def _range(self) -> str:
        least, most = self.metadata_of(Ge), self.metadata_of(Le)
        if least is None or most is None:
            raise TypeError(f"a field of type {self.expected} needs Words, or ge and le")
        noun = "a whole number" if self.expected is int else "a number"
        return f"{noun} from {least.ge} to {most.le}"

    def hint(self, value: object) -> str:
        """How to write the value that was probably meant, or ""."""
        text = self.expected is str or self.kind is Literal
        number = self.expected in (int, float)
        match value:
            case None if self.has_default:
                return "leave the key out to get the default"
            case bool() | int() | float() if text:
                return "put it in quotes, so that YAML keeps it as text"
            case float() if self.expected is int and value.is_integer():
                return f"write {shown(int(value))}"
            case str() if self.kind is Literal:
                return did_you_mean(value, get_args(self.expected))
            case str() if number and _NUMBER.fullmatch(value):
                return "write the number without quotes"
            case str() if self.expected is bool and value.lower() in _SPELLINGS_OF_BOOL:
                return "write true or false, without quotes"
            case str() if self.kind is tuple:
                return self._as_list(value)
            case _:
                return ""

    def _as_list(self, text: str) -> str:
        """How to write a list that was written as a text with one entry or several."""
        entries = [shown(each) for each in re.split(r"[,\s]+", text.strip("[] ")) if each]
        fewest = (self.metadata_of(Words) or Words("")).fewest
        if len(entries) >= max(fewest, 2):
            return f"write it as a list: [{', '.join(entries)}]"
        if fewest > 1:
            return f"write it as a list, with at least {fewest - len(entries)} more: [{', '.join([*entries, '…'])}]"
        return f"write it as a list, even of one: [{', '.join(entries)}]"


def _slot(model: _Model, location: Iterable[int | str]) -> _Slot:
    slot = _Slot(model)
    for step in location:
        inner = slot.inside(step)
        if inner is None:
            raise LookupError(path_of(location))
        slot = inner
    return slot


def _is_wrong_key(location: _Location, model: _Model) -> bool:
    """Whether an error is about a map's key; a key may itself be spelled like pydantic's mark."""
    return (
        len(location) >= 2
        and location[-1] == _KEY_MARK
        and _slot(model, location[:-2]).kind is dict
    )


def _unwrapped(annotation: Any, metadata: tuple[object, ...] = ()) -> _Slot:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _unwrapped(inner, (*_flat(more), *metadata))
    if get_origin(annotation) in (Union, types.UnionType):
        inner = next(each for each in get_args(annotation) if each is not types.NoneType)
        return _unwrapped(inner, metadata)
    return _Slot(annotation, metadata)


def _flat(metadata: Iterable[object]) -> Iterator[object]:
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _slot_of(field: FieldInfo) -> _Slot:
    slot = _unwrapped(field.annotation, tuple(field.metadata))
    return replace(slot, has_default=not field.is_required())


def _is_model(expected: object) -> TypeGuard[_Model]:
    return isinstance(expected, type) and issubclass(expected, BaseModel)


def _keys_of(model: _Model) -> dict[str, FieldInfo]:
    """The keys of a section as the stack file spells them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def accepted(field: FieldInfo) -> str:
    """What a key accepts, as a noun phrase."""
    return _slot_of(field).words()


def sections(model: _Model, path: str = "") -> Iterator[tuple[str, _Model]]:
    """Every section below `model` with its path, names of a map's entries shown as <name>."""
    yield path, model
    for key, field in _keys_of(model).items():
        slot, place = _slot_of(field), f"{path}.{key}" if path else key
        if slot.kind is dict:
            slot, place = _unwrapped(get_args(slot.expected)[1]), f"{place}.<name>"
        if _is_model(slot.expected):
            yield from sections(slot.expected, place)


def values_of(
    settings: BaseModel, path: tuple[str, ...] = (), pattern: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], object]]:
    """Every value below `settings`: its path, the same with names of entries as <name>, and it.

    An entry of a map of sections comes before what is in it, and stands for being there.
    """
    for name, field in type(settings).model_fields.items():
        key, value = field.alias or name, getattr(settings, name)
        place, declared = (*path, key), (*pattern, key)
        slot = _slot_of(field)
        if slot.kind is dict and _is_model(_unwrapped(get_args(slot.expected)[1]).expected):
            for entry, section in value.items():
                yield (*place, entry), (*declared, "<name>"), True
                yield from values_of(section, (*place, entry), (*declared, "<name>"))
        elif isinstance(value, BaseModel):
            yield from values_of(value, place, declared)
        elif not _is_model(slot.expected):
            yield place, declared, value


def declared_keys(model: _Model, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key below `model` that holds a value or is an entry of a map of sections: its path with
    names of entries as <name>, and the names of section and attribute that declare it."""
    for name, field in model.model_fields.items():
        place, slot = f"{path}{field.alias or name}", _slot_of(field)
        by = next(each for each in model.__mro__ if name in get_annotations(each))
        inner = _unwrapped(get_args(slot.expected)[1]) if slot.kind is dict else slot
        if slot.kind is dict and _is_model(inner.expected):
            place = f"{place}.<name>"
            yield place, by.__name__, name
        if _is_model(inner.expected):
            yield from declared_keys(inner.expected, f"{place}.")
        else:
            yield place, by.__name__, name
