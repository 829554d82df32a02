"""Phase release: the release's folder and its images, found on the machine or fetched in one pass.

Fetching is one stream from the network to the disk: checksum, decompression, unpacking and `docker load` run at
once, and neither the archive nor the images archive inside it is ever stored. What was unpacked and loaded is
used only after the checksum of the whole was right, and removed otherwise: until then images have names that nothing
starts, so that a wrong archive takes nobody's name, and whoever comes after a kill knows them.

An earlier release goes only after its data were copied, which nobody writes any more by then. Each step can be cut off
anywhere and done again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, Sequence

from agent.containers.compose import Compose
from agent.data import database_folder
from agent.delivery import incoming
from agent.delivery.archive import CHUNK_BYTES, IMAGE_ARCHIVES, Archive
from agent.delivery.download import Download, Stream, drained
from agent.delivery.images import (
    UNVERIFIED,
    Names,
    load,
    load_unverified,
    name_images,
    remove_images,
)
from agent.failures import Failure
from agent.graphistry.release_folder import PREINSTALLED, place, version_of
from agent.machine import docker
from agent.machine.commands import run
from agent.machine.files import opened, read_plain, write_private
from agent.node import HOME, MARK, Node
from agent.specification import Specification

RECORD = ".graphistry-cluster.json"
PARTIAL, BEFORE, RETIRED = ".partial", ".before", ".retired"
"""Ends of the names of folders: one that is being unpacked; one in whose place a new one is put; one that only has to
be removed."""
PENDING = ".graphistry-cluster-pending"
"""In a release that has not got all data of an earlier one yet: nothing is ever copied from it."""
ALONE = "ENABLE_CLUSTER_MODE=false\n"
"""In the vendor's cluster.env: of a release that is no node's."""


def release(node: Node) -> None:
    """Have the specification's release on this machine."""
    specification = node.specification
    is_preinstalled = specification.release_source == "preinstalled"
    _recover()
    if specification.runs_data_services:
        database_folder.require_none_in(specification, _ending())
    folder = place(specification) if is_preinstalled else _fetched(node)
    _require_version(specification, folder, folder)
    node.release = folder
    earlier = _others(folder)
    left = [given for given in PREINSTALLED if given != folder and _is_configured(given)]
    _take_over([*earlier, *left], folder)
    for each in earlier:
        _retire(each, folder)
    for each in left:
        _leave(each)
    version, cuda = version_of(folder)
    node.report.version("release", f"{version}-{cuda}")
    if is_preinstalled:
        _load_missing_images(folder)


def _require_version(specification: Specification, folder: Path, shown: Path) -> None:
    version, cuda = version_of(folder)
    if (version, cuda) != (specification.release_version, specification.cuda):
        raise Failure(
            "ReleaseVersionMismatch",
            f"{shown} has version {version} for CUDA {cuda}; wanted is"
            f" {specification.release_version} for CUDA {specification.cuda}",
        )


def _recover() -> None:
    """Put right what was cut off: take images away that were never verified, and folders that nobody needs."""
    words = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", UNVERIFIED]
    remove_images(run(words).output.split())
    for before in (HOME / "releases").glob(f"*{BEFORE}"):
        final = before.with_name(before.name[: -len(BEFORE)])
        shutil.rmtree(before, ignore_errors=True) if final.exists() else before.rename(final)
    for end in (PARTIAL, RETIRED):
        for each in (HOME / "releases").glob(f"*{end}"):
            shutil.rmtree(each)


def _load_missing_images(folder: Path) -> None:
    """Load the images of a release that was only unpacked; an image that has them needs no archive."""
    archives = [folder / name for name in IMAGE_ARCHIVES if (folder / name).is_file()]
    if not archives:
        return
    try:
        images = {str(each.get("image")) for each in Compose(folder).services().values()}
    except Failure:
        images = {
            ""
        }  # one that shows its configuration by its containers alone, which need the images
    if all(docker.has_image(image) for image in sorted(images)):
        return
    with archives[0].open("rb") as stream:
        load(lambda docker: shutil.copyfileobj(stream, docker, CHUNK_BYTES))


def _fetched(node: Node) -> Path:
    specification = node.specification
    final = place(specification)
    if is_complete(specification):
        return final
    partial = final.with_name(f"{final.name}{PARTIAL}")
    download = _open(node)
    partial.mkdir(parents=True)
    images: Names = {}
    try:
        _unpack(download, partial, images)
        found = download.hexdigest()
        if found != specification.release_sha256:
            raise _mismatch(node, found)
        folder = _root(partial)
        _require_version(specification, folder, final)
        names = [name for each in images.values() for name in each]
        write_private(
            folder / RECORD, json.dumps({"sha256": found, "images": names}, sort_keys=True)
        )
        if final.exists():
            _end(final)
            if not (final / PENDING).exists():
                _copy_data(final, folder)
        name_images(images)
        _replace(final, folder)
    except BaseException as error:
        _discard(partial, images)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise Failure(
                "DiskFull", f"the release does not fit: {error.filename or partial}"
            ) from error
        if isinstance(error, Failure) and error.code == "ReleaseArchiveInvalid":
            # An archive that cannot be read is most often one with another checksum: that is the better reason.
            found = drained(download)
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


def _unpack(download: Stream, folder: Path, images: Names) -> None:
    """Unpack the stream into *folder*, but for the images, which Docker gets; their names go to *images*."""
    with Archive(download) as stream:
        try:
            with tarfile.open(fileobj=stream.output, mode="r|") as archive:
                for member in archive:
                    if Path(member.name).name in IMAGE_ARCHIVES and member.isfile():
                        content = archive.extractfile(member)
                        assert content is not None  # noqa: S101, a file has content
                        load_unverified(content, folder, images)
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
    return [each for each in found if each != folder and each.suffix not in (BEFORE, RETIRED)]


def _ending() -> list[Path]:
    """The releases whose services this phase may end."""
    return [*_others(HOME), *filter(_is_configured, PREINSTALLED)]


def _take_over(earlier: Sequence[Path], folder: Path) -> None:
    """End the services of earlier releases, and put their `data` over that of the new one.

    What was copied in part only is the new release's alone: whoever goes back finds the earlier one as it was.
    """
    whole = [each for each in earlier if not (each / PENDING).exists()]
    if whole:
        write_private(folder / PENDING, "")
    for each in earlier:
        _end(each)
    for each in whole:
        _copy_data(each, folder)
    with contextlib.suppress(FileNotFoundError):
        (folder / PENDING).unlink()


def _end(earlier: Path) -> None:
    """End the services of an earlier release. Raises Failure."""
    if (earlier / "graphistry").is_file():
        done = Compose(earlier).down()
        if not done.succeeded:
            message = f"the containers of {earlier.name} cannot be removed"
            raise Failure("ServicesNotStarted", message, done.tail())


def _copy_data(earlier: Path, folder: Path) -> None:
    """Put the `data` of a release over that of another one, with its owners. Raises Failure."""
    if not (earlier / "data").is_dir():
        return
    # A link that a service has left in the other one must not lead root elsewhere.
    words = ["cp", "-a", "--remove-destination", "-T"]
    copied = run([*words, str(earlier / "data"), str(folder / "data")], seconds=3600)
    # A power failure must not find the old ones removed and the new ones in memory.
    copied = run(["sync", "-f", str(folder)], seconds=600) if copied.succeeded else copied
    if not copied.succeeded:
        tail = copied.tail()
        is_full = any("No space left" in line for line in tail)
        raise Failure(
            "DiskFull" if is_full else "ReleaseDataNotCopied",
            f"{earlier}/data cannot be copied to {folder}; it was kept",
            tail,
        )


def _retire(earlier: Path, folder: Path) -> None:
    """Take an earlier release away, whose data are in the new one, and give back the space that it had."""
    remove_images(sorted(set(_record(earlier)[1]) - set(_record(folder)[1])))
    # In one step: what was copied once is never copied again, over what was changed since.
    retired = earlier.rename(earlier.with_name(f"{earlier.name}{RETIRED}"))
    shutil.rmtree(retired)


def _is_configured(folder: Path) -> bool:
    """Whether a release is one that the agent has configured and not given back."""
    try:
        return read_plain(folder / "data" / "config" / "cluster.env").startswith(f"# {MARK}")
    except (OSError, Failure):
        return False


def _leave(given: Path) -> None:
    """Give a release back that came with the machine and stays there, and whose data are in the new one."""
    # What was copied once is never copied again, over what was changed since.
    with opened(given / "data" / "config") as config:
        write_private(config / "cluster.env", ALONE, 0o644)


def _record(folder: Path) -> tuple[str | None, list[str]]:
    """The checksum of the archive that was unpacked to *folder*, and its images; of another folder, nothing."""
    try:
        found: dict[str, Any] = json.loads(read_plain(folder / RECORD))
        return found["sha256"], found["images"]
    except (OSError, Failure, ValueError, LookupError):
        return None, []


def _replace(final: Path, folder: Path) -> None:
    """Put the new release in its place; one of the two is there at any moment."""
    before = final.with_name(f"{final.name}{BEFORE}")
    if final.exists():
        final.rename(before)
    folder.rename(final)
    shutil.rmtree(before, ignore_errors=True)


def _discard(partial: Path, images: Names) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    remove_images(list(images))
