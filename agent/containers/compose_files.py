"""The compose files of a release, and the call of Docker Compose with them where its own command line cannot be used.

A command line that passes no `config` on, or names its files and so reads none of ours, still starts containers: their
labels say of which files, with which variables and in which folder Compose has made them.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from agent.containers.engine import Container
from agent.failures import Failure
from agent.machine.files import read_plain, write_private
from agent.node import HOME, MARK

OVERRIDE = "docker-compose.override.yml"
"""Ours where nobody else has one: Compose reads it by itself."""
SECOND = f"docker-compose.{MARK}.yml"
"""Ours beside somebody else's override, which the vendor tells administrators to edit."""
VARIABLES = ("telemetry", "custom", "cluster")
"""Files of variables in `data/config` that the vendor's command line reads; the last has the last word."""
NUMBERS = ("VERSION", "CUDA_SHORT_VERSION")
"""Files of the release whose content its compose files have as variables of the same names."""
FILES_LABEL = "com.docker.compose.project.config_files"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
PROJECT_LABEL = "com.docker.compose.project"
VARIABLES_LABEL = "com.docker.compose.project.environment_file"


@dataclass(frozen=True)
class Origin:
    """What Compose has made a release's containers of."""

    project: str
    directory: str
    files: tuple[str, ...]
    variables: tuple[str, ...]
    """Files of variables, the last of which has the last word."""


def learn(folder: Path, containers: Sequence[Container]) -> Origin | None:
    """From the labels of a release's *containers*; None where there are none, or their files are gone."""
    last = [
        str(folder / name) for name in (OVERRIDE, SECOND)
    ]  # which come last, and may come and go
    for each in containers:
        files = tuple(filter(None, each.labels.get(FILES_LABEL, "").split(",")))
        theirs = tuple(file for file in files if file not in last)
        if theirs and all(Path(file).is_file() for file in theirs):
            named = filter(None, each.labels.get(VARIABLES_LABEL, "").split(","))
            directory = each.labels[FOLDER_LABEL]
            variables = [file for file in named if Path(file).is_file()]
            return Origin(each.labels[PROJECT_LABEL], directory, theirs, tuple(variables))
    return None


def is_of(folder: Path, labels: Mapping[str, str]) -> bool:
    """Whether a container with these labels was made of a release's files."""
    files = labels.get(FILES_LABEL, "").split(",")
    own = {str(folder), os.path.realpath(folder)}
    return labels.get(FOLDER_LABEL) in own or any(
        each.startswith(f"{path}/") for each in files for path in own
    )


def remember(folder: Path, origin: Origin) -> None:
    """Call Compose with these files from now on."""
    write_private(_record(), json.dumps({**_all(), str(folder): asdict(origin)}))


def forget(folder: Path) -> None:
    """Use the release's own command line again."""
    write_private(
        _record(), json.dumps({name: each for name, each in _all().items() if name != str(folder)})
    )


def remembered(folder: Path) -> Origin | None:
    """The files with which Compose is called; None where the release's own command line is used, also because a file
    has gone."""
    found = _all().get(str(folder))
    if found is None or not all(Path(each).is_file() for each in found["files"]):
        return None
    return Origin(
        found["project"], found["directory"], tuple(found["files"]), tuple(found["variables"])
    )


def command(folder: Path, origin: Origin) -> list[str]:
    """Docker Compose with the release's files, and ours as the last of them."""
    words = [shutil.which("docker") or "docker", "compose", "-p", origin.project]
    words += ["--project-directory", origin.directory]
    for file in dict.fromkeys((*origin.files, *_more_files(folder))):
        words += ["-f", file]
    for file in dict.fromkeys((*_first_variables(origin), *_more_variables(folder))):
        words += ["--env-file", file]
    return words


def variables(folder: Path) -> dict[str, str]:
    """What the release's own command line has in its environment and Compose needs."""
    files = (folder / name for name in NUMBERS)
    return {each.name: each.read_text().strip() for each in files if each.is_file()}


def is_somebody_elses(file: Path) -> bool:
    """Whether there is a file that the agent has not written; a link is somebody else's, wherever it leads."""
    try:
        return not read_plain(file).startswith(f"# {MARK} ")
    except FileNotFoundError:
        return False
    except (OSError, Failure):
        return True


def _more_files(folder: Path) -> list[str]:
    """The overrides, which may be younger than the containers: somebody else's, and ours."""
    return [str(folder / name) for name in (OVERRIDE, SECOND) if (folder / name).exists()]


def _first_variables(origin: Origin) -> tuple[str, ...]:
    """Those that are named, or what Compose reads where none is."""
    usual = Path(origin.directory, ".env")
    return origin.variables or ((str(usual),) if usual.is_file() else ())


def _more_variables(folder: Path) -> Iterator[str]:
    for name in VARIABLES:
        file = folder / "data" / "config" / f"{name}.env"
        if file.is_file():
            yield str(file)


def _record() -> Path:
    return HOME / "compose-files.json"


def _all() -> dict[str, dict[str, Any]]:
    """By the folders of releases."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(_record().read_text())
        return found
    except (OSError, ValueError):
        return {}
