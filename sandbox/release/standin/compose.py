"""Compose files: read, merged and brought into one shape by Docker Compose's rules."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .variables import interpolate, read_variables

REPLACED = {"command", "entrypoint", "test"}
"""Lists of which a later file's replaces an earlier one's; other lists are appended."""
KEYED = {"environment": "=", "labels": "=", "volumes": ":", "depends_on": ""}


class Override:
    """A value that replaces what earlier files say: Compose's tag !override."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Reset:
    """Takes away what earlier files say: Compose's tag !reset."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one, or else
    pass


def _override(loader: Any, node: yaml.Node) -> Override:
    if isinstance(node, yaml.SequenceNode):
        return Override(loader.construct_sequence(node, deep=True))
    if isinstance(node, yaml.MappingNode):
        return Override(loader.construct_mapping(node, deep=True))
    return Override(loader.construct_scalar(node))


def _reset(loader: Any, node: yaml.Node) -> Reset:
    return Reset()


_Loader.add_constructor("!override", _override)
_Loader.add_constructor("!reset", _reset)


def read_compose(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """A compose file with its variables put in."""
    content = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with two tags
    if not isinstance(content, dict):
        raise ValueError(f"{path}: Top-level object must be a mapping")
    found: dict[str, Any] = _interpolated(content, variables)
    return found


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, dict):
        return {key: _interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, variables) for item in value]
    if isinstance(value, Override):
        return Override(_interpolated(value.value, variables))
    return value


def merge(earlier: Any, later: Any, name: str = "") -> Any:
    """What two files say of one thing called `name`."""
    if isinstance(later, Override):
        return later.value
    if name in REPLACED or earlier is None:
        return merge_into_nothing(later)
    if name in KEYED:
        return {**_keyed(earlier, name), **_keyed(later, name)}
    if isinstance(earlier, dict) and isinstance(later, dict):
        merged = dict(earlier)
        for key, value in later.items():
            if isinstance(value, Reset):
                merged.pop(key, None)
            else:
                merged[key] = merge(merged.get(key), value, key)
        return merged
    if isinstance(earlier, list) and isinstance(later, list):
        return [*earlier, *(item for item in later if item not in earlier)]
    return later


def merge_into_nothing(later: Any) -> Any:
    """What a file says where no earlier one says anything: the tags have nothing to do."""
    if isinstance(later, Override):
        return later.value
    if isinstance(later, dict):
        kept = {key: item for key, item in later.items() if not isinstance(item, Reset)}
        return {key: merge_into_nothing(item) for key, item in kept.items()}
    return later


def _keyed(value: Any, name: str) -> dict[str, Any]:
    """A list that Compose merges by key, as a mapping: variables by name, volumes by target."""
    if isinstance(value, dict):
        return value
    if name == "volumes":
        volumes = [_volume(item) for item in value]
        return {volume["target"]: volume for volume in volumes}
    if name == "depends_on":
        return {service: {"condition": "service_started", "required": True} for service in value}
    pairs = (item.partition("=") for item in value)
    return {key: text if separator else None for key, separator, text in pairs}


def _volume(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    parts = value.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"volume {value!r}: SOURCE:TARGET or SOURCE:TARGET:ro is expected")
    is_path = parts[0].startswith((".", "/", "~"))
    volume = {"type": "bind" if is_path else "volume", "source": parts[0], "target": parts[1]}
    return {**volume, "read_only": True} if "ro" in parts[2:] else volume


def port(value: Any) -> dict[str, Any]:
    """A port in Compose's long form; `published` is missing where only the network sees it."""
    if isinstance(value, dict):
        return {"mode": "ingress", "protocol": "tcp", **value, "target": int(value["target"])}
    text, _, protocol = str(value).partition("/")
    *before, target = text.rsplit(":", 2)
    found: dict[str, Any] = {"mode": "ingress", "target": int(target)}
    if before:
        found["published"] = before[-1]
    if len(before) > 1:
        found["host_ip"] = before[0].strip("[]")
    return {**found, "protocol": protocol or "tcp"}


def finished(service: dict[str, Any], folder: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """A service as `config` shows it: every short form written out, its variables' files read in."""
    shown = {key: value for key, value in service.items() if key != "env_file"}
    environment: dict[str, Any] = {}
    for name in service.get("env_file", []):
        environment |= read_variables(folder / name, {**variables, **environment})
    environment |= _keyed(service.get("environment", {}), "environment")
    shown["environment"] = {
        key: None if value is None else _text(value) for key, value in sorted(environment.items())
    }
    if "volumes" in service:
        volumes = _keyed(service["volumes"], "volumes").values()
        shown["volumes"] = [_absolute(volume, folder) for volume in volumes]
    if "ports" in service:
        shown["ports"] = [port(item) for item in service["ports"]]
    if "depends_on" in service:
        shown["depends_on"] = _keyed(service["depends_on"], "depends_on")
    if isinstance(service.get("command"), str):
        shown["command"] = shlex.split(service["command"])
    return shown


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _absolute(volume: dict[str, Any], folder: Path) -> dict[str, Any]:
    if volume["type"] != "bind":
        return volume
    source = (folder / Path(volume["source"]).expanduser()).absolute()
    # Path keeps "/./" and a trailing slash out; ".." is left to the kernel.
    return {**volume, "source": str(source), "bind": {"create_host_path": True}}
