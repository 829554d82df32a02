"""The stand-in release and the stand-ins of the machine image, as far as they need no machine."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.release import build, build_release
from sandbox.release.standin import SERVICES, tokens
from sandbox.release.standin.cli import in_order
from sandbox.release.standin.compose import read_compose
from sandbox.release.standin.health import seconds
from sandbox.release.standin.project import read_project
from sandbox.release.standin.variables import interpolate, read_variables

FILES = Path(build.__file__).parents[1] / "machine_image" / "files"
Write = Callable[[str, str], None]


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


@pytest.fixture
def write(release: Path) -> Write:
    """Writes one of the release's files."""

    def put(name: str, text: str) -> None:
        path = release / name
        (path if path.suffix == ".yml" else release / "data/config" / name).write_text(text)

    return put


def cluster(role: str) -> str:
    return (
        f"ENABLE_CLUSTER_MODE=true\nNODE_TYPE={role}\nLOCAL_DATASET_CACHE_DIR=/mnt/shared/\n"
        f"POSTGRES_HOST={'postgres' if role == 'leader' else '10.0.0.1'}\n"
    )


def services(release: Path, **traps: Any) -> dict[str, Any]:
    found: dict[str, Any] = read_project(release, traps)["services"]
    return found


@pytest.mark.parametrize("compression", ["gz", "none", "zst"])
def test_the_same_sources_make_the_same_archive(
    tmp_path: Path, compression: build.Compression
) -> None:
    if compression == "zst" and shutil.which("zstd") is None:
        pytest.skip("no zstd here")
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
    with tarfile.open(release / "containers.tar.gz") as saved:
        manifest = json.load(saved.extractfile("manifest.json") or io.BytesIO())
        names = saved.getnames()
    tags = [tag for entry in manifest for tag in entry["RepoTags"]]
    assert sorted(tags) == sorted({each["image"] for each in services(release).values()})
    assert "graphistry/etl-server-python:2.50.1-12" in tags
    assert all(entry["Config"] in names and entry["Layers"][0] in names for entry in manifest)
    assert not [path for path in release.rglob("*") if "__pycache__" in path.name]


def test_its_help_says_what_it_is(release: Path) -> None:
    done = subprocess.run([sys.executable, release / "graphistry", "--help"], capture_output=True)
    assert b"stand-in for the Graphistry release" in done.stdout
    done = subprocess.run(
        [sys.executable, release / "graphistry", "config", "--format", "json"],
        capture_output=True,
    )
    assert set(json.loads(done.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}", "x-x"),
        ("${NONE:-${A}}", "x"),
        ("${EMPTY:-y}${EMPTY-y}", "y"),
        ("${NONE}${NONE:+z}${A:+z}", "z"),
        ("$$A", "$A"),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "x", "EMPTY": ""}) == expected


def test_a_variable_that_must_be_set_is_missed() -> None:
    with pytest.raises(ValueError, match="SECRET is missing a value: set it"):
        interpolate("${SECRET:?set it}", {})


def test_files_of_variables_are_read_as_compose_does(tmp_path: Path) -> None:
    path = tmp_path / "custom.env"
    path.write_text(
        "# a comment\nA=1 # why\nexport B=\"two words\"\nC='$A'\nD=${A}${OUTSIDE}\nE=a#b\n"
    )
    assert read_variables(path, {"OUTSIDE": "9"}) == {
        "A": "1",
        "B": "two words",
        "C": "$A",
        "D": "19",
        "E": "a#b",
    }
    path.write_text("SECRET value\n")
    with pytest.raises(ValueError, match="line 1: NAME=value") as caught:
        read_variables(path, {})
    assert "SECRET" not in str(caught.value)


def test_a_single_node_keeps_everything_to_itself(release: Path) -> None:
    found = services(release)
    assert [name for name in found if found[name].get("ports")] == ["caddy"]
    assert found["postgres"]["volumes"][0]["source"] == "postgres_data"
    assert found["nexus"]["environment"]["REDIS_URL"] == "redis://redis:6379/0"


def test_a_leader_publishes_postgres_on_every_address(release: Path, write: Write) -> None:
    write("cluster.env", cluster("leader"))
    found = services(release)
    assert found["postgres"]["ports"] == [
        {"mode": "ingress", "target": 5432, "published": "5432", "protocol": "tcp"}
    ]
    sources = {each["target"]: each["source"] for each in found["postgres"]["volumes"]}
    assert sources["/var/lib/postgresql/data"] == "/mnt/shared/postgresql_data"
    assert "ports" not in found["redis"]


def test_a_follower_has_no_postgres_and_its_own_redis(release: Path, write: Write) -> None:
    write("cluster.env", cluster("follower"))
    write("custom.env", "POSTGRES_PASSWORD=feed\nPOSTGRES_HOST=nowhere\nFORGE_NUM_WORKERS=8\n")
    found = services(release)
    assert "postgres" not in found
    assert "postgres" not in found["forge-etl-python"]["depends_on"]
    environment = found["nexus"]["environment"]
    assert environment["DATABASE_URL"] == "postgres://graphistry:feed@10.0.0.1:5432/graphistry"
    assert environment["REDIS_URL"] == "redis://redis:6379/0"  # the trap that is always there
    assert found["forge-etl-python"]["environment"]["FORGE_NUM_WORKERS"] == "8"


def test_gpus_come_from_the_services_variable_then_the_common_one(
    release: Path, write: Write
) -> None:
    write("custom.env", "CUDA_VISIBLE_DEVICES=0,1\nSTREAMGL_CUDA_VISIBLE_DEVICES=1\n")
    found = services(release)
    seen = {
        name: found[name]["environment"]["CUDA_VISIBLE_DEVICES"]
        for name in ("streamgl-gpu", "forge-etl-python", "dask-cuda-worker")
    }
    assert seen == {"streamgl-gpu": "1", "forge-etl-python": "0,1", "dask-cuda-worker": "0,1"}


def test_an_override_changes_what_it_names(release: Path, write: Write) -> None:
    write("cluster.env", cluster("leader"))
    override = """
services:
  postgres:
    ports: !override ["10.0.0.1:5432:5432"]
  redis:
    ports: ["10.0.0.1:6379:6379"]
    command: redis-server /etc/redis/redis.conf
    volumes: ["./redis.conf:/etc/redis/redis.conf:ro"]
  caddy:
    ports: ["8080:80"]
    volumes: ["./other:/etc/caddy/Caddyfile"]
  nexus:
    environment: ["REDIS_URL=redis://:a$$b@redis:6379/0"]
"""
    write("docker-compose.override.yml", override)
    found = services(release)
    assert [each["host_ip"] for each in found["postgres"]["ports"]] == ["10.0.0.1"]
    assert found["redis"]["command"] == ["redis-server", "/etc/redis/redis.conf"]
    volume = found["redis"]["volumes"][0]
    assert (volume["source"], volume["read_only"]) == (str(release / "redis.conf"), True)
    assert [each["published"] for each in found["caddy"]["ports"]] == ["80", "8080"]
    assert [each["source"] for each in found["caddy"]["volumes"]] == [str(release / "other")]
    assert found["nexus"]["environment"]["REDIS_URL"] == "redis://:a$b@redis:6379/0"
    assert found["nexus"]["environment"]["POSTGRES_DB"] == "graphistry"
    assert services(release, overrideIgnored=True)["postgres"]["ports"][0].get("host_ip") is None


def test_a_service_without_image_is_refused(release: Path, write: Write) -> None:
    write("docker-compose.override.yml", "services:\n  typo:\n    command: x\n")
    with pytest.raises(ValueError, match='service "typo" has neither an image'):
        read_project(release, {})


def test_an_unknown_role_is_refused(release: Path, write: Write) -> None:
    write("cluster.env", cluster("boss"))
    with pytest.raises(ValueError, match=r"'boss'.*leader or follower is expected"):
        read_project(release, {})


def test_a_trap_points_every_service_of_a_follower_to_the_leaders_redis(
    release: Path, write: Write
) -> None:
    write("cluster.env", cluster("follower"))
    found = services(release, redisEverywhereLeader=True)
    assert found["streamgl-viz"]["environment"]["REDIS_URL"] == "redis://10.0.0.1:6379/0"


def test_services_start_after_what_they_need(release: Path) -> None:
    project = read_project(release, {})
    every = in_order(project, [], with_needed=True)
    assert sorted(every) == sorted(SERVICES)
    assert every.index("postgres") < every.index("nexus")
    assert in_order(project, ["pivot"], with_needed=True) == ["postgres", "pivot"]
    assert in_order(project, ["pivot"], with_needed=False) == ["pivot"]


def test_the_compose_file_is_one_that_compose_reads() -> None:
    text = (Path(build.__file__).parent / "files/docker-compose.yml").read_text()
    project = yaml.safe_load(text)
    assert set(project["services"]) == set(SERVICES)
    checks = {name: each["healthcheck"] for name, each in project["services"].items()}
    assert all(check["test"] for check in checks.values())


def test_a_compose_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("- a\n")
    with pytest.raises(ValueError, match="Top-level object must be a mapping"):
        read_compose(tmp_path / "x.yml", {})


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected
    with pytest.raises(ValueError, match="a number with h, m, s or ms"):
        seconds(f"{text}x")


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
    """The stand-ins for docker and nvidia-smi, run here in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "docker"

    def docker(self, *arguments: str, stream: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        text = (FILES / "usr/bin/docker").read_text()
        for path in ("/etc/docker/", "/run/", "/var/lib/docker", "/home/ubuntu/graphistry/"):
            text = text.replace(f'"{path}', f'"{self.folder}{path}')
        program = self.folder / "docker.py"
        program.write_text(text)
        return subprocess.run(
            [sys.executable, program, *arguments], input=stream, capture_output=True
        )

    def settings(self, **settings: Any) -> None:
        path = self.folder / "etc/docker/daemon.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"data-root": str(self.root), **settings}))
        (self.folder / "run").mkdir(exist_ok=True)

    def nvidia_smi(self, *arguments: str, **machine: Any) -> subprocess.CompletedProcess[str]:
        gpu = {"index": 0, "uuid": "GPU-1", "name": "Tesla T4", "memoryMib": 15360}
        described = {"driver": "580.126.20", "gpus": [gpu], "nvml": "ok", **machine}
        (self.folder / "machine.json").write_text(json.dumps(described))
        return subprocess.run(
            [sys.executable, FILES / "usr/bin/nvidia-smi", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "GRAPHISTRY_SANDBOX_DIRECTORY": str(self.folder)},
        )


@pytest.fixture
def standins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path)


@pytest.fixture
def started(standins: StandIns) -> StandIns:
    standins.settings(**{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "x"}}})
    assert standins.docker("standin-start").returncode == 0
    return standins


@pytest.mark.parametrize("form", ["gzip", "plain", "zstd"])
def test_docker_load_reads_an_archive_as_a_stream(
    started: StandIns, release: Path, form: str
) -> None:
    packed = (release / "containers.tar.gz").read_bytes()
    plain = gzip.decompress(packed)
    if form == "zstd" and shutil.which("zstd") is None:
        pytest.skip("no zstd here")
    zstd = ["zstd", "-qc"]
    stream = {"gzip": packed, "plain": plain}.get(form) or subprocess.check_output(
        zstd, input=plain
    )
    done = started.docker("load", stream=stream)
    assert done.returncode == 0, done.stderr
    assert b"Loaded image: redis:6.2.7\n" in done.stdout
    assert started.docker("image", "inspect", "redis:6.2.7").returncode == 0
    listed = started.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    assert [name.decode() for name in listed] == build.images("2.50.1", "12")
    assert sum(path.stat().st_size for path in started.root.rglob("*")) < 20_000
    assert started.docker("rmi", "redis:6.2.7").returncode == 0
    assert started.docker("image", "inspect", "redis:6.2.7").returncode == 1


@pytest.mark.parametrize("cut", [10, 1000, -5])
def test_docker_load_keeps_nothing_of_half_an_archive(
    started: StandIns, release: Path, cut: int
) -> None:
    packed = (release / "containers.tar.gz").read_bytes()
    done = started.docker("load", stream=packed[:cut])
    assert done.returncode == 1
    assert b"Error processing tar file" in done.stderr
    assert not (started.root / "images.json").exists()


def test_docker_shows_the_settings_it_was_started_with(started: StandIns) -> None:
    started.settings()  # changed, and not started again
    assert started.docker("info", "--format", "{{.DefaultRuntime}}").stdout == b"nvidia\n"
    assert json.loads(started.docker("info", "-f", "{{json .Runtimes}}").stdout)["nvidia"]
    shown = json.loads(started.docker("info", "--format", "json").stdout)
    assert shown["DockerRootDir"] == str(started.root)
    assert "stand-in" in shown["OperatingSystem"]
    assert started.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    assert b"v2" in started.docker("compose", "version").stdout
    assert started.docker("standin-start").returncode == 0
    assert started.docker("info", "--format", "{{.DefaultRuntime}}").stdout == b"runc\n"


def test_docker_refuses_what_docker_refuses(standins: StandIns) -> None:
    assert b"Is the docker daemon running?" in standins.docker("info").stderr
    standins.settings(**{"default-runtime": "nvidia"})
    done = standins.docker("standin-start")
    assert done.returncode == 1
    assert b'default runtime "nvidia" does not exist' in done.stderr
    (standins.folder / "etc/docker/daemon.json").write_text("{")
    assert b"unable to configure the Docker daemon" in standins.docker("standin-start").stderr


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
