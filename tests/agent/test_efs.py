"""How a node gets the mount helper of EFS that its image lacks."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from agent.failures import Failure
from agent.folders import efs
from agent.machine.commands import Completed
from agent.specification import Efs, MountHelper

PACKAGE, INSTALLER = b"a package", b"touch it"
SOURCE = "s3://packages/amazon-efs-utils_3.2.0.deb"


class Downloaded:
    """What a source gives."""

    def __init__(self, source: str, _: object) -> None:
        self._whole = self._left = {SOURCE: PACKAGE, efs.INSTALLER: INSTALLER}[source]

    def read(self, size: int) -> bytes:
        chunk, self._left = self._left[:size], self._left[size:]
        return chunk

    def hexdigest(self) -> str:
        return hashlib.sha256(self._whole).hexdigest()


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What was installed or run as root on an Ubuntu: its name and its bytes. Each brings the helper."""
    ran: list[tuple[str, bytes]] = []

    def root(file: str) -> Completed:
        ran.append((Path(file).name, Path(file).read_bytes()))
        efs.HELPER.touch()
        return Completed(0, "", "")

    monkeypatch.setattr(efs, "HELPER", tmp_path / "mount.efs")
    monkeypatch.setattr(efs, "Download", Downloaded)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("agent.machine.packages.install", root)
    monkeypatch.setattr(efs, "run", lambda command, **_: root(command[1]))
    return ran


def require(helper: MountHelper | None) -> None:
    node: Any = type("Node", (), {"site": type("Site", (), {"open_release": None})})
    efs.require_helper(node, Efs("/mnt", "fs-0", "us-east-1", {}, helper))


def test_the_package_that_was_named_is_installed(ran: list[tuple[str, bytes]]) -> None:
    require(MountHelper(SOURCE, hashlib.sha256(PACKAGE).hexdigest()))
    assert ran == [("amazon-efs-utils.deb", PACKAGE)]


def test_another_package_is_not_installed(ran: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Failure) as raised:
        require(MountHelper(SOURCE, "0" * 64))
    assert raised.value.code == "EfsUtilsChecksumMismatch"
    assert hashlib.sha256(PACKAGE).hexdigest() in str(raised.value)
    assert ran == []


def test_an_installer_runs_whole_and_its_checksum_is_in_the_log(
    ran: list[tuple[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    require(None)
    assert ran == [("installer.sh", INSTALLER)]
    assert hashlib.sha256(INSTALLER).hexdigest() in capsys.readouterr().out


def test_a_helper_that_is_there_stays(ran: list[tuple[str, bytes]]) -> None:
    efs.HELPER.touch()
    require(MountHelper(SOURCE, "0" * 64))
    assert ran == []
