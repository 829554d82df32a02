"""Builds the stand-in release: one archive in the vendor's shape, the same for the same sources."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .base_image import Layer, base_layer, image_config
from .standin.__main__ import ENTRYPOINT

Compression = Literal["gz", "zst", "none"]
HERE = Path(__file__).parent
VERSION, CUDA = "2.50.1", "12"
"""What is built where nobody says otherwise: the release of the shipped stack files."""
SUFFIXES: dict[Compression, str] = {"gz": ".tar.gz", "zst": ".tar.zst", "none": ".tar"}
NO_BASE = Layer(hashlib.sha256(b"").hexdigest())
"""Below the images of a release that was built where no machine boots: no Docker has it, nor loads such an archive."""
_FIRST = ("python3", "-m", "standin")
_PROGRAMS = {
    "redis": "redis",
    "graphistry/etl-server-python": "forge-etl-python",
    "graphistry/streamgl-nginx": "nginx",
    "graphistry/jupyter-notebook": "notebook",
}
"""The service that an image is made for, where that is not its name without `graphistry-`."""
_GPU_USERS = ("graphistry/etl-server-python", "graphistry/streamgl-gpu")
_DATABASES: dict[str, dict[str, Any]] = {
    "postgres": {
        "Env": ["PGDATA=/var/lib/postgresql/data"],
        "Cmd": ["postgres"],
        "ExposedPorts": {"5432/tcp": {}},
        "StopSignal": "SIGINT",
        "Volumes": {"/var/lib/postgresql/data": {}},
    },
    "redis": {
        "Cmd": ["redis-server"],
        "ExposedPorts": {"6379/tcp": {}},
        "Volumes": {"/data": {}},
        "WorkingDir": "/data",
    },
}
"""As in the configurations of the official images."""
_ENVIRONMENT = (
    "PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "PYTHONPATH=/opt/standin",
)


@dataclass(frozen=True)
class Release:
    """A stand-in release that a machine image comes with."""

    version: str
    cuda: str

    @staticmethod
    def named(text: str) -> Release | None:
        """The one that ``2.50.1-12`` names; None for the empty text."""
        version, _, cuda = text.partition("-")
        return Release(version, cuda) if text else None

    def __str__(self) -> str:
        return f"{self.version}-{self.cuda}"


def build_release(
    directory: Path, version: str = VERSION, cuda: str = CUDA, compression: Compression = "gz"
) -> Path:
    """The release's archive in `directory`; its name tells what it was made of, so it is made once.

    Like the vendor's, it unpacks into the current folder. `zst` needs the program zstd.
    """
    if compression not in SUFFIXES:
        raise ValueError(f"compression {compression!r}: one of {', '.join(SUFFIXES)} is expected")
    archive = _archive(_files(version, cuda))
    name = hashlib.sha256(archive).hexdigest()[:12]
    path = directory / f"graphistry-{version}-{cuda}-{name}{SUFFIXES[compression]}"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=directory, prefix=".release-")
    with os.fdopen(handle, "wb") as output:
        output.write(_compressed(archive, compression))
    Path(draft).chmod(0o644)
    Path(draft).replace(path)
    return path


def images(version: str, cuda: str) -> list[str]:
    """The images that the release's compose file names."""
    compose = yaml.safe_load((HERE / "files" / "docker-compose.yml").read_text())
    named = {each["image"] for each in compose["services"].values()}
    variables = (("${VERSION}", version), ("${CUDA_SHORT_VERSION}", cuda))
    for variable, value in variables:
        named = {each.replace(variable, value) for each in named}
    return sorted(named)


def saved_images(settings: Mapping[str, Mapping[str, Any]]) -> bytes:
    """What `docker save` would write of images by name -> what their containers start with.

    All are the base and one small layer with the stand-in. Docker reads the content of no layer that it has, so the
    base's is left out: where the base is missing, `docker load` fails and says that it cannot open this layer.
    """
    base = base_layer() or NO_BASE
    layer = _archive(_read(HERE / "layer", "") | _read(HERE / "standin", "opt/standin/standin/"))
    own = Layer(hashlib.sha256(layer).hexdigest())
    found: dict[str, tuple[bytes, int]] = {own.folder: (layer, 0o644)}
    manifest = []
    for name, each in sorted(settings.items()):
        shown = {**each, "Env": [*_ENVIRONMENT, *each.get("Env", ())], "Labels": {"image": name}}
        config = image_config([base.digest, own.digest], shown)
        path = f"{hashlib.sha256(config).hexdigest()}.json"
        found[path] = (config, 0o644)
        layers = [base.folder, own.folder]
        manifest.append({"Config": path, "RepoTags": [name], "Layers": layers})
    return _archive({**found, "manifest.json": (json.dumps(manifest).encode(), 0o644)})


def official(kind: str) -> dict[str, Any]:
    """For `saved_images`: what containers of the official image `postgres` or `redis` start with."""
    return {**_DATABASES[kind], "Entrypoint": [ENTRYPOINT]}


def _settings(name: str) -> dict[str, Any]:
    """What containers of one of the release's images start with."""
    repository = name.partition(":")[0]
    program = _PROGRAMS.get(repository, repository.rpartition("/")[2].removeprefix("graphistry-"))
    if program in _DATABASES:
        return {**_DATABASES[program], "Entrypoint": [*_FIRST, program]}
    gpus = ["NVIDIA_VISIBLE_DEVICES=all"] if repository in _GPU_USERS else []
    return {
        "Entrypoint": list(_FIRST),
        "Cmd": [program],
        "WorkingDir": "/opt/standin",
        "Env": gpus,
    }


def _files(version: str, cuda: str) -> dict[str, tuple[bytes, int]]:
    """Path in the release -> content and mode."""
    found = _read(HERE / "files", "")
    found["VERSION"] = (f"{version}\n".encode(), 0o644)
    found["CUDA_SHORT_VERSION"] = (f"{cuda}\n".encode(), 0o644)
    saved = saved_images({name: _settings(name) for name in images(version, cuda)})
    found["containers.tar.gz"] = (gzip.compress(saved, mtime=0), 0o644)
    return found


def _read(folder: Path, prefix: str) -> dict[str, tuple[bytes, int]]:
    """The files below a folder, by their names after a prefix: content and mode."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            found[f"{prefix}{path.relative_to(folder)}"] = (path.read_bytes(), mode)
    return found


def _archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar archive of files that belong to root and are as old as the epoch."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _compressed(archive: bytes, compression: Compression) -> bytes:
    if compression == "gz":
        return gzip.compress(archive, mtime=0)
    if compression == "zst":
        command = ["zstd", "--quiet", "-3", "--single-thread", "--stdout"]
        return subprocess.run(command, input=archive, stdout=subprocess.PIPE, check=True).stdout
    return archive
