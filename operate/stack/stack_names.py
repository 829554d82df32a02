"""The names of the stacks of a checkout and of a stack's nodes, read in no time: a shell completes words by them.

Whether a stack file is sound is not looked at. Nothing of the program is imported, as each TAB would wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def stacks_in(folder: Path) -> list[str]:
    """The names of the stacks that have a file in a folder."""
    files = folder.glob("Pulumi.*.yaml")
    return sorted(each.name.removeprefix("Pulumi.").removesuffix(".yaml") for each in files)


def nodes_in(stack_file: Path) -> list[str]:
    """The nodes that a stack file names, the leader first; none where it cannot be read."""
    try:
        content = yaml.safe_load(stack_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    config = _map(_map(content).get("config"))
    leader = ["leader"] if "graphistry-cluster:leader" in config else []
    return [*leader, *map(str, _map(config.get("graphistry-cluster:followers")))]


def _map(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
