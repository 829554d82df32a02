"""Phase release: the release's folder and its images, found on the machine or fetched in one pass.

Fetching is one stream from the network to the disk: checksum, decompression, unpacking and `docker load` run at
once, and neither the archive nor the images archive inside it is ever stored. What was unpacked and loaded is
used only after the checksum of the whole was right, and removed otherwise.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Any

from agent import docker, incoming
from agent.archive import Archive
from agent.commands import run
from agent.compose import Compose
from agent.download import Download, Stream
from agent.failures import Failure
from agent.node import HOME, Node, write_private
from agent.specification import Specification

PREINSTALLED = (
    Path("/home/ubuntu/graphistry"),
    Path("/var/graphistry"),
    Path("/opt/graphistry"),
)
RECORD = ".graphistry-cluster.json"
PARTIAL = ".partial"
IMAGE_ARCHIVES = ("containers.tar.gz", "containers.tar.zst", "containers.tar")
CHUNK_BYTES = 1024 * 1024


def release(node: Node) -> None:
    """Have the specification's release on this machine."""
    specification = node.specification
    is_preinstalled = specification.release_source == "preinstalled"
    folder = place(specification) if is_preinstalled else _fetched(node)
    version, cuda = _version(folder)
    if (version, cuda) != (specification.release_version, specification.cuda):
        raise Failure(
            "ReleaseVersionMismatch",
            f"{folder} has version {version} for CUDA {cuda}; wanted is"
            f" {specification.release_version} for CUDA {specification.cuda}",
        )
    node.release = folder
    for earlier in _others(folder):
        _retire(earlier, folder)
    node.report.version("release", f"{version}-{cuda}")
    if is_preinstalled:
        _load_missing_images(folder)


def place(specification: Specification) -> Path:
    """Where the specification's release is, once this phase has been through."""
    if specification.release_source == "preinstalled":
        return _preinstalled()
    return HOME / "releases" / f"{specification.release_version}-{specification.cuda}"


def preinstalled() -> dict[str, str] | None:
    """Version, CUDA flavour and folder of the release that came with the machine; None without a whole one."""
    try:
        folder = _preinstalled()
        version, cuda = _version(folder)
    except Failure:
        return None
    return {"version": version, "cuda": cuda, "folder": str(folder)}


def _version(folder: Path) -> tuple[str, str]:
    """Version and CUDA flavour of an unpacked release."""
    return _text(folder / "VERSION").lstrip("v"), _text(folder / "CUDA_SHORT_VERSION")


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise Failure("ReleaseArchiveInvalid", f"{file}: {error.strerror}") from error


def found() -> list[Path]:
    """The folders of releases that came with the machine."""
    return [
        folder
        for folder in PREINSTALLED
        if (folder / "graphistry").is_file() and (folder / "VERSION").is_file()
    ]


def _preinstalled() -> Path:
    for folder in found():
        return folder
    places = ", ".join(str(folder) for folder in PREINSTALLED)
    raise Failure("ReleaseMissing", f"there is no release in {places}")


def _load_missing_images(folder: Path) -> None:
    """Load the images of a release that was only unpacked; an image that has them needs no archive."""
    archives = [folder / name for name in IMAGE_ARCHIVES if (folder / name).is_file()]
    if not archives:
        return
    images = {str(each.get("image")) for each in Compose(folder).services().values()}
    if all(docker.has_image(image) for image in sorted(images)):
        return
    with archives[0].open("rb") as stream:
        _load(stream)


def _fetched(node: Node) -> Path:
    specification = node.specification
    final = place(specification)
    if is_complete(specification):
        return final
    partial = _partial(final)
    if partial.exists():
        shutil.rmtree(partial)
    download = _open(node)
    partial.mkdir(parents=True)
    images: list[str] = []
    try:
        _unpack(download, partial, images)
        found = download.hexdigest()
        if found != specification.release_sha256:
            raise _mismatch(node, found)
        folder = _root(partial)
        write_private(
            folder / RECORD, json.dumps({"sha256": found, "images": images}, sort_keys=True)
        )
        # A node has one; what an operator put into its configuration goes along, as in the vendor's own way to upgrade.
        for earlier in [final] if final.exists() else _others(final):
            _take_data(earlier, folder)
        _move(folder, final)
    except BaseException as error:
        _discard(partial, images)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise Failure(
                "DiskFull", f"the release does not fit: {error.filename or partial}"
            ) from error
        if isinstance(error, Failure) and error.code == "ReleaseArchiveInvalid":
            # An archive that cannot be read is most often one with another checksum: that is the better reason.
            found = download.drain()
            if found != specification.release_sha256:
                raise _mismatch(node, found) from error
        raise
    shutil.rmtree(partial, ignore_errors=True)
    return final


def _open(node: Node) -> Stream:
    """The archive, from where the specification says."""
    specification = node.specification
    if specification.release_source == "file":
        return incoming.LocalArchive(incoming.place(str(specification.release_sha256)))
    return Download(specification.release_source, node.site.open_release)


def _forget(specification: Specification) -> None:
    """Free the disk of an archive that was delivered and is not the right one.

    The right one stays: nobody sends it again to a host whose images were pruned.
    """
    file = incoming.place(str(specification.release_sha256))
    if specification.release_source == "file" and file.exists():
        file.unlink()


def _mismatch(node: Node, found: str) -> Failure:
    _forget(node.specification)
    return Failure(
        "ReleaseChecksumMismatch",
        f"the archive from {node.specification.release_source} has sha256 {found},"
        f" the specification names {node.specification.release_sha256}; nothing of it was kept",
    )


def is_complete(specification: Specification) -> bool:
    """Whether the release was unpacked from this archive, and Docker still has its images."""
    sha256, images = _record(place(specification))
    same = sha256 is not None and sha256 == specification.release_sha256
    return same and all(docker.has_image(image) for image in images)


def _unpack(download: Stream, folder: Path, images: list[str]) -> None:
    """Unpack the stream into *folder*, but for the images, which Docker gets; their names go to *images*."""
    with Archive(download) as stream:
        try:
            with tarfile.open(fileobj=stream.output, mode="r|") as archive:
                for member in archive:
                    if Path(member.name).name in IMAGE_ARCHIVES and member.isfile():
                        content = archive.extractfile(member)
                        assert content is not None  # noqa: S101, a file has content
                        images.extend(_load(content))
                    else:
                        extract(archive, member, folder)
        except (tarfile.TarError, EOFError) as error:
            stream.raise_cause()
            raise Failure(
                "ReleaseArchiveInvalid", f"the archive cannot be read: {error}"
            ) from error
        stream.finish()


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one member below *folder*; raises Failure for one that would be anywhere else."""
    root = folder.resolve()
    target = root / member.name
    _require_inside(root, target.parent.resolve() / target.name, member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        _give(target, member)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    if member.isfile():
        content = archive.extractfile(member)
        assert content is not None  # noqa: S101, a file has content
        with target.open("wb") as stream:
            shutil.copyfileobj(content, stream, CHUNK_BYTES)
        _give(target, member)
    elif member.issym():
        _require_inside(root, (target.parent / member.linkname).resolve(), member.name)
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = (root / member.linkname).resolve()
        _require_inside(root, source, member.name)
        shutil.copy2(source, target)
    else:
        raise Failure("ReleaseArchiveUnsafe", f"{member.name} is neither file, folder nor link")


def _give(target: Path, member: tarfile.TarInfo) -> None:
    """Owner and mode as root's tar gives them, which services of the release rely on; nobody else enters HOME.

    Never setuid or setgid, and always readable and writable for the owner.
    """
    if os.geteuid() == 0:
        os.chown(target, member.uid, member.gid)
    target.chmod(member.mode & 0o777 | (0o700 if member.isdir() else 0o600))


def _require_inside(root: Path, path: Path, name: str) -> None:
    parts = Path(name).parts
    if ".." in parts or name.startswith("/") or (path != root and root not in path.parents):
        raise Failure("ReleaseArchiveUnsafe", f"{name} leads out of the archive's folder")


def _load(content: IO[bytes]) -> list[str]:
    """Let Docker load images from a stream; their names."""
    process = subprocess.Popen(
        ["docker", "load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101, it is a pipe
    assert process.stdout is not None  # noqa: S101, it is a pipe
    try:
        try:
            shutil.copyfileobj(content, process.stdin, CHUNK_BYTES)
            process.stdin.close()
        except BrokenPipeError:
            pass  # Docker says why
        output = process.stdout.read().decode(errors="replace")
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
    if status:
        raise _load_failure(output.splitlines()[-20:])
    return loaded_images(output)


def loaded_images(output: str) -> list[str]:
    """The names that `docker load` prints."""
    lines = [line.partition("Loaded image: ")[2].strip() for line in output.splitlines()]
    return [line for line in lines if line]


def _load_failure(tail: list[str]) -> Failure:
    if any("no space left" in line.lower() for line in tail):
        return Failure("DiskFull", "the images do not fit into Docker's data", tail)
    return Failure("ImagesLoadFailed", "docker load has failed", tail)


def _root(partial: Path) -> Path:
    """The release's folder in what was unpacked: that, or the only folder in it."""
    if (partial / "graphistry").is_file():
        return partial
    inside = list(partial.iterdir())
    if len(inside) == 1 and (inside[0] / "graphistry").is_file():
        return inside[0]
    raise Failure("ReleaseArchiveInvalid", "the archive has no file `graphistry` at its top")


def _others(folder: Path) -> list[Path]:
    """Releases that the agent has unpacked before, but for the one in *folder*."""
    found = [each.parent for each in sorted((HOME / "releases").glob("*/graphistry"))]
    return [each for each in found if each != folder and each.suffix != PARTIAL]


def _take_data(earlier: Path, folder: Path) -> None:
    """Put the `data` of an earlier release over that of the new one, with its owners."""
    if not (earlier / "data").is_dir():
        return
    words = ["cp", "-a", "-T", str(earlier / "data"), str(folder / "data")]
    done = run(words, seconds=1800)
    if not done.succeeded:
        raise Failure("DiskFull", f"{earlier}/data cannot be copied", done.tail())


def _retire(earlier: Path, folder: Path) -> None:
    """End the containers of an earlier release, and give back the space that it had."""
    done = Compose(earlier).down()
    if not done.succeeded:
        message = f"the containers of {earlier.name} cannot be removed"
        raise Failure("ServicesNotStarted", message, done.tail())
    images = sorted(set(_record(earlier)[1]) - set(_record(folder)[1]))
    shutil.rmtree(earlier)
    _remove_images(images)


def _record(folder: Path) -> tuple[str | None, list[str]]:
    """The checksum of the archive that was unpacked to *folder*, and its images; of another folder, nothing."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text())
        return found["sha256"], found["images"]
    except (OSError, ValueError, LookupError):
        return None, []


def _partial(final: Path) -> Path:
    """Where a release is unpacked before it goes to its place."""
    return final.with_name(f"{final.name}{PARTIAL}")


def _move(folder: Path, final: Path) -> None:
    """Put the new release in its place."""
    if final.exists():
        shutil.rmtree(final)
    folder.rename(final)


def _discard(partial: Path, images: list[str]) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    _remove_images(images)


def _remove_images(images: list[str]) -> None:
    if images:
        run(["docker", "rmi", *images], seconds=300)
