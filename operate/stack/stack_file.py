"""A stack file, read as strictly as the program reads it, before Pulumi is asked for anything."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from model.problems import (
    Problem,
    SettingsError,
    UserError,
    closest,
    did_you_mean,
    path_of,
    shown,
    shown_keys,
)
from model.settings.configuration import SECRET_ENV
from model.settings.hosts import ANY_HOST_KEY
from model.settings.read import AnySettings, parse
from model.settings.stack_keys import PROJECT, as_settings, checked, is_encrypted, is_setting
from operate.stack.stack_yaml import read_yaml
from operate.terminal.messages import for_stack

PRIVATE_KEY = f"{PROJECT}:sshPrivateKey"
"""The one secret of a stack file beside its secret variables."""

BESIDE_CONFIG = ("config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment")
"""What Pulumi reads at the top of a stack file."""
_TEXT_BESIDE_CONFIG = BESIDE_CONFIG[1:4]

_WAY_TO_HOSTS = re.compile(
    r"(ssh|ssh\.bastion|leader\.host|followers\.[^.]+\.host)(\.(port|user))?"
)

ENCRYPTED = "-----BEGIN PRIVATE KEY-----\n(encrypted)"
"""Takes the place of the private key where only Pulumi can read it."""
ENCRYPTED_ENV = {"ENCRYPTED": "encrypted"}
"""Takes the place of secret variables where only Pulumi knows which they are."""


def read_stack_file(path: Path, *, rehearsal: bool = False) -> dict[str, Any]:
    """The content of a stack file whose settings are sound.

    In a *rehearsal* a host needs no key, since the sandbox's machine in its place has one of its own. Raises
    :class:`UserError` for what is no stack file, and ``SettingsError`` with every problem of its keys and settings.
    """
    name, content = f"stacks/{path.name}", read_yaml(path)
    config = _config_of(content.data, name)
    if rehearsal:
        for _, host in named_hosts(config):
            host["hostKey"] = host.get("hostKey") or ANY_HOST_KEY
    known = (*content.problems, *_beside_config(content.data))
    try:
        checked(config, _raw(config), known)
    except SettingsError as error:
        raise SettingsError(_named(error.problems, path), name) from None
    return dict(content.data)


def stack_in(path: Path) -> str:
    """The stack that a file is of."""
    return path.name.removeprefix("Pulumi.").removesuffix(".yaml")


def config_of(path: Path) -> dict[str, Any]:
    """The keys of a stack file that was sound when it was read. Raises :class:`UserError` where it is none any more."""
    return _config_of(read_yaml(path).data, f"stacks/{path.name}")


def _config_of(content: Any, name: str) -> dict[str, Any]:
    if isinstance(content, dict) and isinstance(content.get("config"), dict):
        return dict(content["config"])
    got = "empty" if content is None else shown(content)
    near = [each for each in content if closest(each, ["config"])] if _is_map(content) else []
    meant = f"; did you mean `config:` by {near[0]}?" if near and near != ["config"] else ""
    raise UserError(
        f"{name} has no `config:` with keys below it: it is {got}{meant}; the other stacks show one"
    )


def _is_map(content: Any) -> bool:
    return isinstance(content, dict)


def _beside_config(content: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys next to `config`, which Pulumi passes over in silence."""
    for key, value in content.items():
        if key in _TEXT_BESIDE_CONFIG and not isinstance(value, str):
            yield Problem(key, shown(value), "text, as Pulumi wrote it")
        if key not in BESIDE_CONFIG:
            hint = (
                "indent it, if it belongs below `config:`" if ":" in key or is_setting(key) else ""
            )
            hint = hint or did_you_mean(key, BESIDE_CONFIG)
            yield Problem(
                path_of((key,)), "a key that nothing reads", shown_keys(BESIDE_CONFIG), hint
            )


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


def refuse_unsound_hosts(path: Path) -> None:
    """Raise ``SettingsError`` with what keeps the hosts of a stack file from being asked by SSH."""
    config = config_of(path)
    for _, host in named_hosts(config):
        host["hostKey"] = ANY_HOST_KEY
    try:
        settings_of(config)
    except SettingsError as error:
        found = tuple(each for each in error.problems if _WAY_TO_HOSTS.fullmatch(each.path))
        if found:
            raise SettingsError(_named(found, path), f"stacks/{path.name}") from None


def _named(problems: Iterable[Problem], path: Path) -> tuple[Problem, ...]:
    """The problems of a stack file with its stack in their commands."""
    choice = f" {stack_in(path)}"
    return tuple(replace(each, hint=for_stack(each.hint, choice)) for each in problems)


def _section(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = config.get(f"{PROJECT}:{key}")
    return found if isinstance(found, dict) else {}


def read_to_edit(path: Path) -> tuple[YAML, Any]:
    """The file's content as something that can be written back with its comments. Raises :class:`UserError`."""
    _config_of(read_yaml(path).data, f"stacks/{path.name}")
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    try:
        content = editor.load(path)
    except (YAMLError, OSError) as error:
        raise UserError(f"stacks/{path.name} cannot be read: {error}") from None
    return editor, content


def write_stack_file(path: Path, text: str) -> None:
    """Put a *text* in the place of a stack file: the whole of it, or nothing where the disk is full or the command is
    killed. Nobody else has a copy of what is in it. Its mode, its owner and a symbolic link stay. Raises
    :class:`UserError` where the folder takes no file, or the file is a mount of its own.
    """
    file = path.resolve()
    partial = file.with_name(f".{file.name}")  # which is no stack's
    try:
        partial.write_text(text, encoding="utf-8")
        shutil.copymode(file, partial)
        with contextlib.suppress(PermissionError):  # only root gives files away
            shutil.chown(partial, file.stat().st_uid, file.stat().st_gid)
        partial.replace(file)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; it is as it was. Make room, let this user write to its "
            "folder, or mount the folder where the file alone is mounted"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def settings_of(config: Mapping[str, Any]) -> AnySettings:
    """The settings in the keys of a stack file. Raises ``SettingsError``.

    A secret may be as encrypted as it is in the file: that it is there is all that can be said of it.
    """
    return parse(_raw(config))


def _raw(config: Mapping[str, Any]) -> dict[str, object]:
    return {key: _stand_in(key, value) for key, value in as_settings(config).items()}


def _stand_in(key: str, value: object) -> object:
    """A value of the stack file, with something in the place of what Pulumi alone can read."""
    if is_encrypted(value):
        return ENCRYPTED_ENV if key == SECRET_ENV else ENCRYPTED
    if key == SECRET_ENV and isinstance(value, dict):
        return {name: "encrypted" if is_encrypted(each) else each for name, each in value.items()}
    return value
