"""What stands behind the options of the commands and in the environment, checked before anything is read or written.

A stack's name becomes the name of a file and of a lock; no other word may reach one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from model.problems import Problem, UserError, counted, numbered, shown
from model.settings.stack_keys import REGION_NAME

NEWEST, RUNNING = "newest", "running"
"""What may be asked for instead of an image's id: the newest there is, or the one that the leader runs."""

_STACK = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
"""Pulumi takes dots and any first character too (its `tokens.ParseStackName`); a dot would be one of the file's name,
and a hyphen in front an option."""
_NODE = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?|ssh\.bastion")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(/[^\s]*)?")
_PORT = re.compile(r"[0-9]{1,5}")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,3}")


def stack_name(text: str, option: str = "STACK") -> str:
    """The name of a stack, given by an *option*. Raises :class:`UserError` for what is none."""
    if not _STACK.fullmatch(text):
        raise UserError(
            f"{option}: got {shown(text)}, which is not a stack name; allowed: 1 to 100 letters, digits, hyphens and "
            "underscores, with a letter or digit at both ends. It is the NAME of stacks/Pulumi.NAME.yaml"
        )
    return text


def node_name(text: str) -> str:
    """The name of a node; empty where none is named. Raises :class:`UserError`."""
    if text and not _NODE.fullmatch(text):
        raise UserError(
            f"NODE: got {shown(text)}, which is not the name of a node; allowed: leader, or the name of a follower"
        )
    return text


def stack_names(text: str) -> set[str]:
    """Names of stacks by comma; none where the text is empty. Raises :class:`UserError` for what is none."""
    return {stack_name(each.strip(), "--abandon") for each in text.split(",") if each.strip()}


def driver_version(text: str) -> str:
    """A driver's version; empty where none is given. Raises :class:`UserError`."""
    return _version("--driver", text, "570.172.08")


def cuda_version(text: str) -> str:
    """A CUDA toolkit's version; empty where none is given. Raises :class:`UserError`."""
    return _version("--cuda", text, "12.8")


def _version(option: str, text: str, example: str) -> str:
    if text and not _VERSION.fullmatch(text):
        raise UserError(
            f"{option}: got {shown(text)}, which is not a version; allowed: numbers with dots such as {example}"
        )
    return text


def refuse_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Raise :class:`UserError` with every variable that this program reads and that says nothing it knows."""
    found = []
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        value = environment.get(name, "")
        if value and not REGION_NAME.fullmatch(value):
            allowed = 'a region of AWS such as "us-east-1", or nothing'
            found.append(
                Problem(name, shown(value), allowed, "the stack file's aws:region decides")
            )
    machines = environment.get("SANDBOX_MACHINES", "")
    if machines not in ("", "on", "off"):
        hint = "off records machines, and boots none"
        found.append(Problem("SANDBOX_MACHINES", shown(machines), '"on", "off", or nothing', hint))
    port = environment.get("SANDBOX_PORT", "")
    if port and not (_PORT.fullmatch(port) and int(port) <= 65535):
        allowed = "a port from 1 to 65535, or nothing"
        found.append(Problem("SANDBOX_PORT", shown(port), allowed))
    for name in sorted(environment):
        address = environment[name]
        if name.startswith("AWS_ENDPOINT_URL") and address and not _ADDRESS.fullmatch(address):
            allowed = "an address such as https://host, or nothing"
            found.append(Problem(name, shown(address), allowed))
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        file = environment.get(name, "")
        if file and not Path(file).exists():
            found.append(Problem(name, shown(file), "a file with certificates, or nothing"))
    if found:
        count = counted(len(found), "variable")
        raise UserError(
            "\n\n".join((f"{count} of this shell cannot be meant:", *numbered(tuple(found))))
        )
