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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from .standin.variables import interpolate

Compression = Literal["gz", "zst", "none"]
HERE = Path(__file__).parent
VERSION, CUDA = "2.50.1", "12"
"""What is built where nobody says otherwise: the release of the shipped stack files."""
SUFFIXES: dict[Compression, str] = {"gz": ".tar.gz", "zst": ".tar.zst", "none": ".tar"}
_LAYER_BYTES = 4096


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
    variables = {"VERSION": version, "CUDA_SHORT_VERSION": cuda}
    return sorted({interpolate(each["image"], variables) for each in compose["services"].values()})


def _files(version: str, cuda: str) -> dict[str, tuple[bytes, int]]:
    """Path in the release -> content and mode."""
    found = {}
    for root, prefix in ((HERE / "files", ""), (HERE / "standin", "standin/")):
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                found[f"{prefix}{path.relative_to(root)}"] = (path.read_bytes(), mode)
    found["VERSION"] = (f"{version}\n".encode(), 0o644)
    found["CUDA_SHORT_VERSION"] = (f"{cuda}\n".encode(), 0o644)
    saved = gzip.compress(_archive(_saved_images(images(version, cuda))), mtime=0)
    found["containers.tar.gz"] = (saved, 0o644)
    return found


def _saved_images(names: Iterable[str]) -> dict[str, tuple[bytes, int]]:
    """What `docker save` would write of images that hold next to nothing."""
    found: dict[str, tuple[bytes, int]] = {}
    manifest = []
    for name in names:
        content = f"stand-in for {name}, made by graphistry-cluster's sandbox\n".encode()
        layer = _archive({"stand-in": (content.ljust(_LAYER_BYTES), 0o644)})
        digest = hashlib.sha256(layer).hexdigest()
        config = json.dumps(
            {
                "architecture": "amd64",
                "config": {},
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        identifier = hashlib.sha256(config).hexdigest()
        found[f"{digest}/layer.tar"] = (layer, 0o644)
        found[f"{identifier}.json"] = (config, 0o644)
        manifest.append(
            {"Config": f"{identifier}.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}
        )
    return {**found, "manifest.json": (json.dumps(manifest).encode(), 0o644)}


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
