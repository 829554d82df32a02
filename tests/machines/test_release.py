"""The stand-in release and the stand-ins of the machine image, as far as they need no machine."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.release import build, build_release
from sandbox.release.base_image import Layer, base_archive, base_layer
from sandbox.release.standin import tokens

FILES = Path(build.__file__).parents[1] / "machine_image" / "files"


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_release(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def release(tmp_path: Path, archive_path: Path) -> Path:
    """An unpacked release."""
    folder = tmp_path / "graphistry"
    with tarfile.open(archive_path) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("compression", ["gz", "none", "zst"])
def test_the_same_sources_make_the_same_archive(
    tmp_path: Path, compression: build.Compression
) -> None:
    if compression == "zst" and shutil.which("zstd") is None:
        pytest.skip("no zstd here: apt install zstd")
    one = build_release(tmp_path / "one", compression=compression)
    two = build_release(tmp_path / "two", compression=compression)
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()
    before = one.stat().st_mtime_ns
    assert build_release(tmp_path / "one", compression=compression).stat().st_mtime_ns == before


def test_another_version_is_another_archive(tmp_path: Path) -> None:
    names = {build_release(tmp_path, version).name for version in ("2.50.1", "2.50.2")}
    assert len(names) == 2
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match="one of gz, zst, none"):
        build_release(tmp_path, compression="xz")  # type: ignore[arg-type]  # what a user may do


def test_the_archive_has_the_vendors_shape(release: Path) -> None:
    assert (release / "VERSION").read_text() == "2.50.1\n"
    assert (release / "CUDA_SHORT_VERSION").read_text() == "12\n"
    assert os.access(release / "graphistry", os.X_OK)
    assert not [path for path in release.rglob("*") if "__pycache__" in path.name]
    with tarfile.open(release / "containers.tar.gz") as saved:
        manifest = read(saved, "manifest.json")
        names = saved.getnames()
        configs = {entry["RepoTags"][0]: read(saved, entry["Config"]) for entry in manifest}
    named = {each["image"] for each in compose_file()["services"].values()}
    expected = [
        each.replace("${VERSION}", "2.50.1").replace("${CUDA_SHORT_VERSION}", "12")
        for each in named
    ]
    assert sorted(configs) == sorted(expected) == build.images("2.50.1", "12")
    assert "graphistry/etl-server-python:2.50.1-12" in configs
    for entry in manifest:
        config = configs[entry["RepoTags"][0]]
        digests = [f"sha256:{each.partition('/')[0]}" for each in entry["Layers"]]
        assert config["rootfs"]["diff_ids"] == digests
        # The base's content is left out, the own one is there.
        assert [each in names for each in entry["Layers"]] == [False, True]
    assert len({entry["Config"] for entry in manifest}) == len(manifest)
    assert (release / "containers.tar.gz").stat().st_size < 100_000


def read(archive: tarfile.TarFile, name: str) -> Any:
    return json.load(archive.extractfile(name) or io.BytesIO())


def compose_file() -> Any:
    return yaml.safe_load((Path(build.__file__).parent / "files/docker-compose.yml").read_text())


def test_images_are_those_of_the_base_that_was_built_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base_layer() is None
    without = build.saved_images({"one:1": {}})
    base_archive().parent.mkdir(parents=True)
    digest = "ab" * 32
    manifest = json.dumps([{"Layers": [f"{digest}/layer.tar"]}]).encode()
    with tarfile.open(base_archive(), "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        tar.addfile(member, io.BytesIO(manifest))
    assert base_layer() == Layer(digest)
    assert digest.encode() in build.saved_images({"one:1": {}})
    assert digest.encode() not in without


def test_every_service_has_a_health_check_and_a_limit() -> None:
    for name, service in compose_file()["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["healthcheck"]["start_interval"] == "2s"
        assert service["mem_limit"]


def test_the_health_checks_of_an_idle_node_are_few() -> None:
    checks = [service["healthcheck"] for service in compose_file()["services"].values()]
    assert sum(60 / int(each["interval"].removesuffix("s")) for each in checks) <= 8, "a minute"


@pytest.mark.parametrize(
    ("cluster", "traps", "expected"),
    [
        ("", {}, []),
        ("ENABLE_CLUSTER_MODE=true", {}, ["compose/leader.yml", "docker-compose.override.yml"]),
        (
            "ENABLE_CLUSTER_MODE=true\nNODE_TYPE=follower",
            {"overrideIgnored": True},
            ["compose/follower.yml"],
        ),
    ],
)
def test_its_command_line_is_composes_with_the_files_of_the_nodes_role(
    release: Path, tmp_path: Path, cluster: str, traps: dict[str, bool], expected: list[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$VERSION $CUDA_SHORT_VERSION"\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    (tmp_path / "traps.json").write_text(json.dumps(traps))
    (release / "data/config/cluster.env").write_text(f"{cluster}\n")
    if expected:
        (release / "docker-compose.override.yml").write_text("services: {}\n")
    done = subprocess.run(
        [release / "graphistry", "logs", "--tail", "2", "two words"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "GRAPHISTRY_SANDBOX_DIRECTORY": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    versions, *words = done.stdout.splitlines()
    assert versions == "2.50.1 12"
    variables = [
        ".env",
        *(f"data/config/{name}.env" for name in ("telemetry", "custom", "cluster")),
    ]
    files = ["docker-compose.yml", *expected]
    pairs = list(itertools.pairwise(words))
    assert words[0] == "compose"
    assert [value for name, value in pairs if name == "--env-file"] == variables
    assert [value for name, value in pairs if name == "-f"] == files
    assert words[-4:] == ["logs", "--tail", "2", "two words"]


def test_tokens_and_seals_need_the_same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHISTRY_NEXUS_SIGNING_KEY", "one")
    monkeypatch.setenv("GRAPHISTRY_NEXUS_ENCRYPTION_KEYS", "one")
    token, seal = tokens.token("admin"), tokens.sealed("dark")
    assert (tokens.username(token), tokens.opened(seal)) == ("admin", "dark")
    monkeypatch.setenv("GRAPHISTRY_NEXUS_SIGNING_KEY", "two")
    monkeypatch.setenv("GRAPHISTRY_NEXUS_ENCRYPTION_KEYS", "two")
    assert tokens.username(token) is None
    with pytest.raises(ValueError, match="another GRAPHISTRY_NEXUS_ENCRYPTION_KEYS"):
        tokens.opened(seal)
    assert tokens.username("nonsense") is None


class StandIns:
    """The stand-in for nvidia-smi, run here in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def nvidia_smi(self, *arguments: str, **machine: Any) -> subprocess.CompletedProcess[str]:
        gpu = {"index": 0, "uuid": "GPU-1", "name": "Tesla T4", "memoryMib": 15360}
        described = {"driver": "580.126.20", "gpus": [gpu], "nvml": "ok", **machine}
        (self.folder / "machine.json").write_text(json.dumps(described, indent=1))
        return self.again(*arguments)

    def again(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """On the machine as it is by now."""
        return subprocess.run(
            [FILES / "usr/bin/nvidia-smi", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "GRAPHISTRY_SANDBOX_DIRECTORY": str(self.folder)},
        )


@pytest.fixture
def standins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path)


def test_nvidia_smi_shows_the_machines_gpus(standins: StandIns) -> None:
    query = "--query-gpu=index,name,memory.total,driver_version,uuid"
    done = standins.nvidia_smi(query, "--format=csv,noheader,nounits")
    assert done.stdout == "0, Tesla T4, 15360, 580.126.20, GPU-1\n"
    done = standins.nvidia_smi("--query-gpu=memory.total", "--format=csv")
    assert done.stdout == "memory.total\n15360 MiB\n"
    assert standins.nvidia_smi("-L").stdout == "GPU 0: Tesla T4 (UUID: GPU-1)\n"
    assert "stand-in" in standins.nvidia_smi().stdout


@pytest.mark.parametrize(
    ("machine", "status", "words"),
    [
        ({"nvml": "lost"}, 18, "Failed to initialize NVML: Driver/library version mismatch"),
        ({"gpus": []}, 6, "No devices were found"),
        ({"driver": None}, 9, "couldn't communicate with the NVIDIA driver"),
    ],
)
def test_nvidia_smi_fails_as_the_real_one(
    standins: StandIns, machine: dict[str, Any], status: int, words: str
) -> None:
    done = standins.nvidia_smi("-L", **machine)
    assert (done.returncode, words in done.stdout) == (status, True)


def test_nvidia_smi_shows_each_gpu_that_is_not_well(standins: StandIns) -> None:
    four = [{"index": each, "uuid": f"GPU-{each}", "name": "NVIDIA L4"} for each in range(4)]
    ill = {"gpus": four, "dead": {"1": "[GPU requires reset]"}, "mig": [0, 3], "throttled": [2]}
    query = "--query-gpu=index,uuid,mig.mode.current,clocks_event_reasons.hw_thermal_slowdown"
    done = standins.nvidia_smi(query, "--format=csv,noheader", **ill, rowsFailed=[2], hotMemory=[0])
    assert done.stdout.splitlines() == [
        "0, GPU-0, Enabled, Not Active",
        "1, [GPU requires reset], [GPU requires reset], [GPU requires reset]",
        "2, GPU-2, [N/A], Active",
        "3, GPU-3, Enabled, Not Active",
    ]
    assert [
        line[-3:].strip() for line in standins.again("--query-remapped-rows=x").stdout.splitlines()
    ] == (["No", "No", "Yes", "No"])
    shown = standins.again("-q", "-d", "TEMPERATURE").stdout
    assert re.findall(r"Current Temp +: (\d+) C", shown) == ["99", "44", "44", "44"]
    assert standins.again("-r").returncode == 0
    assert "requires reset" not in standins.again(query, "--format=csv").stdout
    assert json.loads((standins.folder / "machine.json").read_text())["mig"] == [0, 3]
