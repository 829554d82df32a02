"""The docstrings of the settings' attributes, which the generated pages and the schema of stack files quote.

Pydantic reads them too (`use_attribute_docstrings`), but when a class is made: every command would parse these files.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each attribute of a model and of those that it inherits from, in one line each."""
    found = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            for name, text in _own(each):
                found[name] = " ".join(text.split())
    return found


def _own(model: type[BaseModel]) -> list[tuple[str, str]]:
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 the source of a class
    return [
        (name, text)
        for attribute, below in pairwise(definition.body)
        for name, text in _documented(attribute, below)
    ]


def _documented(attribute: ast.stmt, below: ast.stmt) -> list[tuple[str, str]]:
    match attribute, below:
        case (
            ast.AnnAssign(target=ast.Name(id=name)),
            ast.Expr(value=ast.Constant(value=str(text))),
        ):
            return [(name, text)]
    return []
