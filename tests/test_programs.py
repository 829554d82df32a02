"""What `make test` installs before the tests, and whom it only advises."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.machines import image
from sandbox.machines.commands import MachineError
from tests import programs


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was installed on a computer with apt-get, whose root it is, and none of the programs."""
    found: list[str] = []
    monkeypatch.setattr(programs, "POSTGRES", tmp_path)
    has = {"apt-get"}
    monkeypatch.setattr("shutil.which", lambda name, path=None: name if name in has else None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(image, "install", lambda packages, _: found.extend(packages))
    return found


EVERYTHING = [
    "caddy",
    "cloud-guest-utils",
    "e2fsprogs",
    "fdisk",
    "postgresql",
    "redis-server",
    "wireguard-go",
    "wireguard-tools",
    "xfsprogs",
]
EVERYTHING += ["zstd"]


def test_what_is_missing_is_installed(installed: list[str]) -> None:
    programs.main()
    assert installed == EVERYTHING


def test_nothing_is_installed_where_everything_is(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "PACKAGES", {"apt-get": "apt"})
    (tmp_path / "17" / "bin").mkdir(parents=True)
    (tmp_path / "17" / "bin" / "initdb").touch()
    programs.main()
    assert installed == []


@pytest.mark.parametrize("lack", ["root", "apt-get", "network"])
def test_who_cannot_install_is_told_what_to_install(
    installed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    lack: str,
) -> None:
    def fail(*_: object) -> None:
        raise MachineError("apt-get update failed: no network")

    if lack == "root":
        monkeypatch.setattr("os.geteuid", lambda: 1000)
    elif lack == "apt-get":
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    else:
        monkeypatch.setattr(image, "install", fail)
    programs.main()
    assert installed == []
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"for all of them: apt install {' '.join(EVERYTHING)}")
    assert ("no network" in line) is (lack == "network")
