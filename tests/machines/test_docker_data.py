"""A sandbox's Docker begins with the layers that another has imported, as links and not as copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sandbox.machines import docker_data
from sandbox.machines.availability import impossible

ARCHIVE = Path("machine-image-0123.tar.zst")
LAYER = "overlay2/abc/diff/etc/passwd"

pytestmark = pytest.mark.skipif(bool(impossible()), reason="machines do not boot here")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def another_disk() -> Iterator[Path]:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def imported(data: Path) -> Path:
    """The data of a Docker that has imported the base, and has run a container."""
    for name in ("image/overlay2/repositories.json", LAYER, "containers/one/config"):
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text(name)
    return data


def test_a_docker_begins_with_the_layers_that_another_has_imported(tmp_path: Path) -> None:
    first, second = imported(tmp_path / "first"), tmp_path / "second"
    docker_data.begin(second, ARCHIVE)
    assert not second.exists(), "nobody has imported anything"
    docker_data.keep(first, ARCHIVE)
    docker_data.begin(second, ARCHIVE)
    assert (second / LAYER).samefile(first / LAYER)
    assert sorted(each.name for each in second.iterdir()) == ["image", "overlay2"]


def test_a_docker_that_ran_before_stays_as_it_is(tmp_path: Path) -> None:
    docker_data.keep(imported(tmp_path / "first"), ARCHIVE)
    (tmp_path / "second" / "image").mkdir(parents=True)
    docker_data.begin(tmp_path / "second", ARCHIVE)
    assert not (tmp_path / "second" / LAYER).exists()


def test_another_base_is_another_docker(tmp_path: Path) -> None:
    docker_data.keep(imported(tmp_path / "first"), ARCHIVE)
    docker_data.begin(tmp_path / "second", Path("machine-image-4567.tar.zst"))
    assert not (tmp_path / "second").exists()


def test_a_docker_on_another_disk_imports_for_itself(tmp_path: Path, another_disk: Path) -> None:
    docker_data.keep(imported(another_disk / "first"), ARCHIVE)
    assert not docker_data.kept_data(ARCHIVE).exists()
    docker_data.keep(imported(tmp_path / "first"), ARCHIVE)
    docker_data.begin(another_disk / "second", ARCHIVE)
    assert not (another_disk / "second").exists()
