"""The machines' image: a plain Debian that is built once per user, and a thin layer of our own files.

The base holds packages only and takes about 90 seconds, so it is cached by what it is made of. The
layer holds the stand-ins; it is made anew by every sandbox that changed. A release is in neither: it
is put on machines of those images of AWS that have one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..release.build import Release, build_release
from ..user_cache import Say, bootstrap, built_once, cache
from . import docker_data
from .commands import MachineError, run

PACKAGES = (
    "ca-certificates,cloud-init,curl,dbus,docker-cli,docker-compose,docker.io,e2fsprogs,fuse3,iproute2,iptables,"
    "iputils-ping,libpam-systemd,login,nfs-common,nftables,openssh-server,postgresql-client,procps,python3,redis-tools,"
    "sshfs,sudo,systemd-sysv,tini,udev,wireguard-go,wireguard-tools,zstd"
)
"""What the agent and a release need on a machine, and clients by which tests ask services from outside. wireguard-go is
WireGuard where this computer's kernel has none: `wg-quick` takes it by itself."""
SUITE = "trixie"
"""Of Debian: the first with a Compose that knows `!override`."""

HOOK = Path(__file__).with_name("image_hook.sh")
FILES = Path(__file__).parents[1] / "machine_image" / "files"
"""The stand-ins, laid out as on the machine."""
RELEASE_FOLDER = Path("home/ubuntu/graphistry")
"""Where the preinstalled stand-in release is."""
BASE, IMAGE = "graphistry-sandbox-base", "graphistry-sandbox-machine"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""By which Debian's packages are verified; Ubuntu does not have it by itself."""
BUILD_SECONDS = 900
"""Bound on the build of the base; 75 to 110 s measured on two cores."""
_MERGED = ("bin", "lib", "sbin")  # links to usr/... in Debian, which a file must not replace


def base_archive() -> Path:
    """Where the base is, or would be: its name tells what it was made of."""
    recipe = f"{SUITE} {PACKAGES}".encode() + HOOK.read_bytes()
    return cache() / f"machine-image-{hashlib.sha256(recipe).hexdigest()[:16]}.tar.zst"


def build_base(say: Say) -> Path:
    """The base's archive, built into the cache unless it is there. Raises MachineError."""
    building = "the machines' image, once: 1 to 2 minutes"
    return built_once(base_archive(), "machine-image", building, _make, say)


def _make(draft: Path) -> None:
    bootstrap(
        [
            *("--variant=apt", f"--include={PACKAGES}"),
            f'--customize-hook=sh {shlex.quote(str(HOOK))} "$1"',
            *(SUITE, str(draft)),
        ],
        cache() / "machine-image.log",
        "the machines' image",
        seconds=BUILD_SECONDS,
    )


def load(client: Any, archive: Path, data: Path) -> None:
    """Make IMAGE in a Docker with its *data* from the base's archive and our own files, as far as it lacks them."""
    base = f"{BASE}:{archive.name.split('-')[-1].split('.')[0]}"
    layer = _layer()
    name = f"{IMAGE}:{hashlib.sha256(base.encode() + layer).hexdigest()[:16]}"
    present = {tag for image in client.images.list() for tag in image.tags}
    if base not in present:
        with subprocess.Popen(["zstd", "-dc", str(archive)], stdout=subprocess.PIPE) as unpacking:
            changes = ['CMD ["/sbin/init"]', "ENV container=docker"]
            client.api.import_image_from_stream(unpacking.stdout, *base.split(":"), changes)
        if unpacking.returncode:
            client.images.remove(base, force=True)  # of whatever came out
            archive.unlink(missing_ok=True)
            raise MachineError(f"{archive} was damaged and is removed: start the sandbox again")
        if not present:
            docker_data.keep(data, archive)
    if name not in present:
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            _add(tar, "Dockerfile", f"FROM {base}\nADD layer.tar /\n".encode())
            _add(tar, "layer.tar", layer)
        context.seek(0)
        client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    client.api.tag(name, IMAGE, "latest")
    for image in client.images.list():
        stale = [tag for tag in image.tags if tag not in (base, name, f"{IMAGE}:latest")]
        for tag in stale:
            client.images.remove(tag, force=True)


def _layer() -> bytes:
    """Our own files as an archive that is the same for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(FILES.rglob("*")) if FILES.is_dir() else []:
            if "__pycache__" in path.parts or (path.is_dir() and not path.is_symlink()):
                continue
            name = str(path.relative_to(FILES))
            if name.split("/")[0] in _MERGED:
                name = f"usr/{name}"
            if path.is_symlink():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(link)
            else:
                _add(tar, name, path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    return stream.getvalue()


def release_archive(release: Release) -> bytes:
    """A release as it is unpacked on a machine of an image that has it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        _add_release(tar, release)
    return stream.getvalue()


def release_cache() -> Path:
    """Where the archives of stand-in releases are, for all sandboxes of this user."""
    return cache() / "releases"


def _add_release(tar: tarfile.TarFile, wanted: Release) -> None:
    """Unpack the stand-in release as the image's own user would have."""
    archive = build_release(release_cache(), wanted.version, wanted.cuda)
    with tarfile.open(archive) as release:
        contents = {Path(member.name): member for member in release if member.name != "."}
        folders = {parent for path in contents for parent in path.parents} | {
            path for path, member in contents.items() if member.isdir()
        }
        for path in sorted(folders | contents.keys()):
            name = str(RELEASE_FOLDER / path)
            member = contents.get(path, tarfile.TarInfo(name))
            if path in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            file = release.extractfile(member) if member.isfile() else None
            member.name, member.uid, member.gid = name, 1000, 1000
            member.uname = member.gname = ""
            tar.addfile(member, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def archive_of(files: Mapping[str, tuple[str, int]]) -> bytes:
    """An archive of small files: path -> (text, mode)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, (text, mode) in files.items():
            _add(tar, name, text.encode(), mode)
    return stream.getvalue()


def missing_programs() -> dict[str, str]:
    """What a private Docker and the image need and this computer lacks -> its package."""
    needed = {
        "dockerd": "docker.io",
        "ip": "iproute2",
        "losetup": "mount",
        "mkfs.ext4": "e2fsprogs",
        "nft": "nftables",
        "nsenter": "util-linux",
        "setpriv": "util-linux",
        "zstd": "zstd",
    }
    if not base_archive().exists():
        needed["mmdebstrap"] = "mmdebstrap"
    missing = {
        program: package
        for program, package in needed.items()
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    }
    if "mmdebstrap" in needed and not KEYRING.exists():
        missing[str(KEYRING)] = "debian-archive-keyring"
    return missing


def install(packages: list[str], say: Say) -> None:
    """Install packages with apt-get, and start nothing of them. Raises MachineError."""
    say(f"installing with apt-get: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _nothing_started():
        for arguments in (
            ["update", "-qq"],
            ["install", "-qq", "--no-install-recommends", *packages],
        ):
            try:
                subprocess.run(
                    ["apt-get", "-y", *arguments],
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=BUILD_SECONDS,
                    check=True,
                )
            except subprocess.CalledProcessError as error:
                words = (error.stderr.strip().splitlines() or [str(error)])[-1]
                raise MachineError(f"apt-get {arguments[0]} failed: {words}") from error
            except (OSError, subprocess.SubprocessError) as error:
                raise MachineError(f"apt-get {arguments[0]} failed: {error}") from error
    say("installed")


@contextmanager
def _nothing_started() -> Iterator[None]:
    """Keep Debian from starting the services it installs: a Docker of the system's is not wanted."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def works(command: list[str]) -> bool:
    """Whether a program is there and ends well."""
    try:
        run(command, seconds=20)
    except MachineError:
        return False
    return True
