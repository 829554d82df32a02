"""Layers that Docker gets compressed, and those that it gets as they are."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from agent.delivery import layers
from agent.failures import Failure
from agent.node import Node
from agent.phases import release

from .fakes import FakeMachine
from .test_release import ArchiveServer, saved, server, tarball, wanted, zstd

__all__ = ["server"]  # a fixture
MakeNode = Callable[..., Node]
TAKES = "26.1.5 overlay2"


def layer() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("opt/words")
        member.size = 3_000_000
        archive.addfile(member, io.BytesIO(b"words " * 500_000))
    return content.getvalue()


LAYER = layer()
MANIFEST = json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": ["a", "b"]}]).encode()


def passed(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    files: dict[str, bytes],
) -> dict[str, bytes]:
    """What Docker gets of these files in the archive of the images."""
    images = gzip.compress(saved({"manifest.json": MANIFEST, **files}))
    release.release(make_node(**wanted(server, tarball(images=images))))
    with tarfile.open(fake.root / "loaded") as archive:
        return {name: content.read() for name in files if (content := archive.extractfile(name))}


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what Docker says of itself."""
    return lambda told: monkeypatch.setattr("agent.machine.docker.information", lambda _: told)


@pytest.fixture
def takes(docker: Callable[[str], None]) -> None:
    docker(TAKES)


@pytest.mark.usefixtures("takes")
def test_layers_are_compressed_and_nothing_else(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    others = {"c.json": b"{}", "small": b"", "z": zstd(LAYER), "g": gzip.compress(LAYER)}
    found = passed(server, fake, make_node, {"a": LAYER, "b/layer.tar": LAYER, **others})
    for name in ("a", "b/layer.tar"):
        got = found.pop(name)
        assert len(got) < len(LAYER) / 100
        unpack = subprocess.run(["zstd", "-dc"], input=got, capture_output=True, check=True)
        assert unpack.stdout == LAYER
    assert found == others


@pytest.mark.parametrize(
    "told", ["20.10.24 overlay2", "29.0.1 overlayfs", "26.1.5 vfs", "26.1.5", ""]
)
def test_another_docker_gets_them_as_they_are(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    docker: Callable[[str], None],
    told: str,
) -> None:
    docker(told)
    assert passed(server, fake, make_node, {"a": LAYER}) == {"a": LAYER}


@pytest.mark.usefixtures("takes")
@pytest.mark.parametrize(
    "lacking", ["agent.delivery.layers.shutil.which", "agent.delivery.layers.shutil.disk_usage"]
)
def test_without_zstd_or_room_they_go_as_they_are(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
) -> None:
    full = SimpleNamespace(free=len(LAYER))
    monkeypatch.setattr(lacking, lambda *_: None if lacking.endswith("which") else full)
    assert passed(server, fake, make_node, {"a": LAYER}) == {"a": LAYER}


@pytest.mark.usefixtures("takes")
@pytest.mark.parametrize(
    ("said", "code"),
    [("error 70 : Write error : No space left on device", "DiskFull"), ("no", "ImagesLoadFailed")],
)
def test_a_layer_that_cannot_be_compressed_leaves_nothing_behind(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    code: str,
) -> None:
    script = f"head -c 9 >/dev/null; echo '{said}' >&2; exit 1"
    monkeypatch.setattr(layers, "COMPRESS", ["sh", "-c", script])
    with pytest.raises(Failure, match="a layer cannot be compressed") as raised:
        passed(server, fake, make_node, {"a": LAYER})
    assert (raised.value.code, raised.value.log) == (code, [said])
    assert not list((fake.home / "releases").iterdir())
    assert not [line for line in fake.log("docker") if line.startswith("tag")]
