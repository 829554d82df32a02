"""The registrations of the stack files, and what mistakes make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.conftest import deployed
from tests.harness import Registration

Change = Callable[[Registration], Registration]
"""What a mistake makes of one registration."""


def registrations(stack: str) -> tuple[Registration, ...]:
    """Everything that a stack file makes."""
    return tuple(deployed(stack))


def inputs(**changes: Any) -> Change:
    """These inputs are others; one that is ``None`` is missing."""

    def change(each: Registration) -> Registration:
        changed = {**each.inputs, **changes}
        return replace(each, inputs={k: v for k, v in changed.items() if v is not None})

    return change


def nested(name: str, **changes: Any) -> Change:
    """These members of an input are others, in the first one of a list."""

    def change(each: Registration) -> Registration:
        value = each.inputs[name]
        if isinstance(value, list):
            return inputs(**{name: [{**value[0], **changes}, *value[1:]]})(each)
        return inputs(**{name: {**value, **changes}})(each)

    return change


def statement(name: str = "policy", **changes: Any) -> Change:
    """A policy has one more statement, the first one with *changes*."""

    def change(each: Registration) -> Registration:
        document = json.loads(each.inputs[name])
        added = {k: v for k, v in {**document["Statement"][0], **changes}.items() if v is not None}
        document["Statement"].append(added)
        return inputs(**{name: json.dumps(document)})(each)

    return change


def told(**changes: Any) -> Change:
    """A specification that is delivered to a host says something else."""

    def change(each: Registration) -> Registration:
        return inputs(stdin=json.dumps({**json.loads(each.inputs["stdin"]), **changes}))(each)

    return change


def options(**changes: Any) -> Change:
    """The resource's options, or its type, are others."""
    return lambda each: replace(each, **changes)


MISSING = options(type="nothing", inputs={})
