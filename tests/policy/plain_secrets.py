"""The rule on secrets: none in what a machine is told at boot, in a document, a command line or an environment."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.settings.configuration import SECRET_ENV_NAME
from tests.harness import SECRET_SIGNATURE, Registration

PATTERNS = {
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an address with a password": r"\w+://[^/\s:@]+:[^/\s:@]+@",
    "a password": (
        r"(?i)(?:password|passwd|passphrase|secret_?(?:access_?)?key|token)[\"']?\s*[:=]\s*"
        r"[\"']?(?![\w.]+[(\[])[^\s\"'(){}\[\],;$<]{6,}"
    ),
}
"""What a secret in a text looks like. A call (``token = read(...)``) and a variable (``$TOKEN``) are none."""

TOLD = {
    "userData",
    "content",
    "create",
    "update",
    "delete",
    "stdin",
    "environment",
    "input",
    "triggers",
}
"""Inputs that are read on machines, or by whoever may read them in AWS."""


def secrets_in_plain(registrations: Sequence[Registration]) -> Iterator[str]:
    """No text that a machine is told holds a secret, and the program fills no secret of AWS but that of the stack
    file's variables, whose value is marked as one.

    Marking does not help user data, which every process of the machine reads; elsewhere what is marked as a secret is
    encrypted in the state and shown nowhere.
    """
    for each in registrations:
        if each.kind in ("SecretVersion", "Parameter") and not _is_stack_files(each):
            yield f"{each.name}: a secret's value passes through the state"
        for name in TOLD & set(each.inputs):
            text = "\n".join(_texts(each.inputs[name], marked=name == "userData"))
            for what, pattern in PATTERNS.items():
                if re.search(pattern, text):
                    yield f"{each.name}: {what} in {name}"


def _is_stack_files(each: Registration) -> bool:
    """Whether a secret's value is one that the stack file has encrypted, and so has the state."""
    marked = isinstance(each.inputs.get("secretString"), Mapping)
    return each.name.endswith(f"-{SECRET_ENV_NAME}") and marked


def _texts(value: Any, *, marked: bool) -> Iterator[str]:
    """Every text in a value; of what is marked as a secret only if *marked*."""
    if isinstance(value, str):
        yield _decoded(value)
    elif isinstance(value, Mapping):
        if SECRET_SIGNATURE in value and not marked:
            return
        for key, inner in value.items():
            if isinstance(inner, str):
                yield f"{key}={inner}"
            else:
                yield from _texts(inner, marked=marked)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, marked=marked)


def _decoded(text: str) -> str:
    """The text, or what it says in base64, as a launch template has its user data."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
