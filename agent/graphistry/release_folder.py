"""The folder of a release: which of those on this machine, and what its files say it is."""

from __future__ import annotations

from pathlib import Path

from agent.failures import Failure
from agent.machine.files import read_plain
from agent.node import HOME
from agent.specification import Specification

PREINSTALLED = (
    Path("/home/ubuntu/graphistry"),
    Path("/var/graphistry"),
    Path("/opt/graphistry"),
)


def place(specification: Specification) -> Path:
    """Where the specification's release is, once the phase release has been through."""
    if specification.release_source == "preinstalled":
        return _preinstalled()
    return HOME / "releases" / f"{specification.release_version}-{specification.cuda}"


def preinstalled() -> dict[str, str] | None:
    """Version, CUDA flavour and folder of the release that came with the machine; None without a whole one."""
    try:
        folder = _preinstalled()
        version, cuda = version_of(folder)
    except Failure:
        return None
    return {"version": version, "cuda": cuda, "folder": str(folder)}


def version_of(folder: Path) -> tuple[str, str]:
    """Version and CUDA flavour of an unpacked release."""
    return _text(folder / "VERSION").lstrip("v"), _text(folder / "CUDA_SHORT_VERSION")


def _text(file: Path) -> str:
    try:
        return read_plain(file).strip()
    except OSError as error:
        raise Failure("ReleaseArchiveInvalid", f"{file}: {error.strerror}") from error


def found() -> list[Path]:
    """The folders of releases that came with the machine."""
    return [
        folder
        for folder in PREINSTALLED
        if (folder / "graphistry").is_file() and (folder / "VERSION").is_file()
    ]


def _preinstalled() -> Path:
    for folder in found():
        return folder
    places = ", ".join(str(folder) for folder in PREINSTALLED)
    raise Failure("ReleaseMissing", f"there is no release in {places}")
