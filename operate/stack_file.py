"""A stack file, read as strictly as the program reads it, before Pulumi is asked for anything."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from model.hosts import ANY_HOST_KEY
from model.settings import AnySettings, parse
from operate.messages import UserError

PROJECT = "graphistry-cluster"
NAMESPACES = (PROJECT, "aws", "pulumi")
"""Whose keys a stack file may have."""

PRIVATE_KEY = f"{PROJECT}:sshPrivateKey"
"""The one secret that a stack file may have. Pulumi's own `secret: true` refuses an empty default."""

ENCRYPTED = "-----BEGIN PRIVATE KEY-----\n(encrypted)"
"""Takes the place of the one secret that a stack file may have, the private key, where only Pulumi can read it."""


class UniqueKeys(yaml.SafeLoader):
    """YAML in which no key stands twice; plain YAML lets the last one win and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for twice in {str(key) for key in keys if keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(
                problem=f"{twice} stands twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def parsed(text: str) -> Any:
    """The content of a YAML in which no key stands twice. Raises ``yaml.YAMLError``."""
    return yaml.load(text, UniqueKeys)  # noqa: S506 a SafeLoader that refuses more


def read_stack_file(path: Path, *, rehearsal: bool = False) -> dict[str, Any]:
    """The content of a stack file whose settings are sound.

    In a *rehearsal* a host needs no key, since the sandbox's machine in its place has one of its own. Raises
    :class:`UserError` for what is no stack file, and ``SettingsError`` with every problem of its settings.
    """
    try:
        content = parsed(path.read_text())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"stacks/{path.name} is not YAML{where}: {error.problem}") from None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise UserError(
            f"stacks/{path.name} has no `config:` with keys below it; the other stacks show one"
        )
    for key in config:
        namespace = str(key).partition(":")[0]
        if namespace not in NAMESPACES:
            near = get_close_matches(namespace, NAMESPACES, n=1)
            meant = f"; did you mean {near[0]}:{str(key).partition(':')[2]}?" if near else ""
            raise UserError(
                f"stacks/{path.name}: got the key {key}{meant} Allowed are keys of {', '.join(NAMESPACES)}"
            )
    if config.get(f"{PROJECT}:site") != "hosts" and "aws:region" not in config:
        raise UserError(
            f"stacks/{path.name} has no aws:region; add one, such as `aws:region: us-east-1`"
        )
    if config.get(PRIVATE_KEY) and not is_encrypted(config[PRIVATE_KEY]):
        raise UserError(
            f"stacks/{path.name}: {PRIVATE_KEY} stands there for everybody to read. Take it out, and put it in "
            "encrypted: pulumi config set --secret sshPrivateKey < FILE; and use another key if it was shared"
        )
    if rehearsal:
        for _, host in named_hosts(config):
            host["hostKey"] = host.get("hostKey") or ANY_HOST_KEY
    settings_of(config)
    return dict(content)


def named_hosts(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every host that a stack file names, with where: ``leader``, ``followers.rack1``, ``ssh.bastion``.

    What is no host is left out: those who read the settings tell such mistakes.
    """
    ssh, followers = _section(config, "ssh"), _section(config, "followers")
    nodes = {"leader": _section(config, "leader")}
    nodes |= {f"followers.{name}": entry for name, entry in followers.items()}
    places = {"ssh.bastion": ssh.get("bastion")}
    places |= {
        place: entry.get("host") for place, entry in nodes.items() if isinstance(entry, dict)
    }
    for place, host in places.items():
        if isinstance(host, dict) and host.get("address"):
            yield place, host


def _section(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = config.get(f"{PROJECT}:{key}")
    return found if isinstance(found, dict) else {}


def read_to_edit(path: Path) -> tuple[YAML, Any]:
    """The file's content as something that can be written back with its comments. Raises :class:`UserError`."""
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    try:
        content = editor.load(path)
        if not isinstance(content["config"], dict):
            raise TypeError("it has no `config:` with keys below it")
    except (YAMLError, OSError, TypeError, KeyError) as error:
        raise UserError(f"stacks/{path.name} cannot be read: {error}") from None
    return editor, content


def settings_of(config: Mapping[str, Any]) -> AnySettings:
    """The settings in the keys of a stack file. Raises ``SettingsError``.

    A secret may be as encrypted as it is in the file: that it is there is all that can be said of it.
    """
    prefix = f"{PROJECT}:"
    return parse(
        {
            key.removeprefix(prefix): ENCRYPTED if is_encrypted(value) else value
            for key, value in config.items()
            if key.startswith(prefix) and key != f"{prefix}deleteData"
        }
    )


def is_encrypted(value: object) -> bool:
    """Whether Pulumi has encrypted a value."""
    return isinstance(value, dict) and set(value) == {"secure"}
