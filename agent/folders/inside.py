"""Work of root's inside a folder that others write to too, who may have left anything under any name.

Nothing here follows a symbolic link below the folder's mount point, nothing is written over what is there, and what is
read is a plain file. All of it is done in a process of its own with a bound, for a dead file server hangs whoever waits
for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import signal
import stat
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, NoReturn, Sequence

BOUND_SECONDS = 15.0
READ_BYTES = 65536
"""At most: nothing that is read here is longer."""
PROBE_BYTES = 4096
COPY_BYTES = 1024 * 1024
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
DESCRIPTORS = Path("/proc/self/fd")
_left_behind: list[int] = []
"""Processes that could not be killed, as those that wait for a dead file server; they end when that answers."""


@dataclass(frozen=True)
class Folder:
    """A folder, *below* the mount point that it is on; empty where it is the mount point."""

    mount: str
    below: str = ""


def read(folder: Folder, name: str) -> str | None:
    """The text of a plain file; None where there is none. Raises OSError; ELOOP for anything but a plain file."""

    def work() -> str:
        with _opened(folder) as inside:
            # Without O_NONBLOCK, a pipe of that name would be waited for.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.ELOOP, name)
            return os.read(file, READ_BYTES).decode(errors="replace")

    try:
        return bounded(work)
    except FileNotFoundError:
        return None


def create(folder: Folder, name: str, text: str) -> None:
    """Write a new file, or one that was left empty; what another has written there meanwhile stays. Raises OSError."""

    def work() -> str:
        with _opened(folder) as inside:
            with contextlib.suppress(FileNotFoundError):
                present = os.lstat(name, dir_fd=inside)
                if stat.S_ISREG(present.st_mode) and not present.st_size:
                    os.unlink(name, dir_fd=inside)
            with contextlib.suppress(FileExistsError):
                _write(inside, name, text.encode(), 0o644)
        return ""

    bounded(work)


def replace(folder: Folder, name: str, text: str) -> None:
    """Write a file whole, in place of whatever has its name. Raises OSError; EISDIR for a folder."""

    def work() -> str:
        with _opened(folder) as inside:
            draft = f".{name}.{secrets.token_hex(8)}"
            try:
                _write(inside, draft, text.encode(), 0o600)
                os.replace(draft, name, src_dir_fd=inside, dst_dir_fd=inside)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=inside)
                raise
        return ""

    bounded(work)


def remove(folder: Folder, name: str) -> None:
    """Take a file away, or a link itself. Raises OSError for one that stays."""

    def work() -> str:
        with _opened(folder) as inside, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=inside)
        return ""

    bounded(work)


def age(folder: Folder, name: str) -> float:
    """Seconds since a file was written, both by the clock of whoever keeps the folder. Raises OSError."""

    def work() -> str:
        with _opened(folder) as inside:
            written = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
            now = f".{name}.{secrets.token_hex(8)}"
            made = os.open(now, NEW_FILE, 0o600, dir_fd=inside)
            try:
                os.write(made, b"\n")
                os.fsync(made)
                return str(os.fstat(made).st_mtime - os.fstat(written).st_mtime)
            finally:
                os.unlink(now, dir_fd=inside)

    return float(bounded(work))


def has_folder(folder: Folder) -> bool:
    """Whether the folder is there. Raises OSError; ENOTDIR for a link or a file on the way."""

    def work() -> str:
        with _opened(folder):
            return ""

    try:
        bounded(work)
    except FileNotFoundError:
        return False
    return True


def make(folder: Folder) -> None:
    """Have the folder itself, where only what it is on is there. Raises OSError; ENOTDIR for a link on the way."""

    def work() -> str:
        with _opened(folder, is_made=True):
            return ""

    bounded(work)


def make_folders(folder: Folder, names: Sequence[str], mode: int) -> None:
    """Have folders; one that is there keeps its mode, but for the sticky bit of what is otherwise open to all.

    Raises OSError; ENOTDIR for a link or a file in a folder's place.
    """

    def work() -> str:
        with _opened(folder) as inside:
            for name in names:
                made = _made(inside, name, mode)
                if stat.S_IMODE(os.fstat(made).st_mode) == stat.S_ISVTX | 0o777:
                    os.fchmod(made, 0o777)
                os.close(made)
        return ""

    bounded(work)


def make_guarded(folder: Folder, name: str, guard: str) -> None:
    """Have a folder with a file in it. Raises OSError; ENOTDIR for a link or a file in the folder's place."""

    def work() -> str:
        with _opened(folder) as inside:
            made = _made(inside, name, 0o755)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(guard, NEW_FILE, 0o644, dir_fd=made))
        return ""

    bounded(work)


def may_give(folder: Folder, user: int) -> bool:
    """Whether root may give files to other users here, which a file server that takes root for nobody refuses. Raises
    OSError for anything else."""

    def work() -> str:
        with _opened(folder) as inside:
            name = f".owner.{secrets.token_hex(8)}"
            file = os.open(name, NEW_FILE, 0o600, dir_fd=inside)
            try:
                os.fchown(file, user, user)
            finally:
                os.unlink(name, dir_fd=inside)
        return ""

    try:
        bounded(work)
    except PermissionError:
        return False
    return True


def probe(folder: Folder, prefix: str, folders: Sequence[str]) -> None:
    """Write a new file, have it on the disk and take it away. Raises OSError; ENOTDIR where one of *folders* is a link
    or a file, which whoever mounts it would follow."""

    def work() -> str:
        with _opened(folder) as inside:
            for name in folders:
                with contextlib.suppress(FileNotFoundError):
                    if not stat.S_ISDIR(os.lstat(name, dir_fd=inside).st_mode):
                        raise OSError(errno.ENOTDIR, name)
            name = f"{prefix}{secrets.token_hex(8)}"
            try:
                _write(inside, name, os.urandom(PROBE_BYTES), 0o600)
            except OSError:
                # Not every kind of file system says why it does not write.
                if not os.fstatvfs(inside).f_bavail:
                    raise OSError(errno.ENOSPC, name) from None
                raise
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=inside)
        return ""

    bounded(work)


def forget_probes(folder: Folder, prefixes: tuple[str, ...]) -> None:
    """Take away what probes have left that were ended. Raises OSError."""

    def work() -> str:
        with _opened(folder) as inside, os.scandir(inside) as entries:
            for name in [each.name for each in entries if each.name.startswith(prefixes)]:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=inside)
        return ""

    bounded(work)


def copy_folder(source: Folder, target: Folder, name: str, seconds: float) -> None:
    """Have a copy of a folder as *name* in another one: whole, with its owners and no set-user-ID, or not at all.

    One that is there stays as it is; a source that is not there is an empty folder of root's. Its links are copied as
    links. Raises OSError.
    """
    parent, prefix = os.getpid(), f".{name}.partial."

    def work() -> str:
        with _opened(target) as inside:
            with os.scandir(inside) as entries:
                left = [each.name for each in entries if each.name.startswith(prefix)]
            for each in left:
                _remove_tree(inside, each)
            with contextlib.suppress(FileNotFoundError):
                os.lstat(name, dir_fd=inside)
                return ""
            partial = f"{prefix}{secrets.token_hex(8)}"
            made = _made(inside, partial, 0o755)
            present = []
            with contextlib.suppress(FileNotFoundError), _opened(source) as found:
                present.append(found)
            for opened in present:  # what goes missing from here on is a failure
                _copy_tree(opened, made)
            os.sync()  # once: a file server answers each file's own by itself
            if os.getppid() != parent:
                # The agent has been ended, and another may have put one there that users write to already.
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED), name)
            os.rename(partial, name, src_dir_fd=inside, dst_dir_fd=inside)
            os.fsync(inside)
        return ""

    bounded(work, seconds)


def bounded(work: Callable[[], str], seconds: float = BOUND_SECONDS) -> str:
    """What *work* returns in a process of its own; it uses nothing but system calls, as other threads are not there.

    Raises its OSError, with the file's name, and TimeoutError for one that does not end, which is left behind.
    """
    _left_behind[:] = [each for each in _left_behind if not _has_ended(each)]
    answer, ours = os.pipe()
    with warnings.catch_warnings():
        # The other threads' locks, which the warning is about, are never taken.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work(work, ours)
    os.close(ours)
    try:
        content = _wait(answer, seconds)
    finally:
        os.close(answer)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        end = time.monotonic() + 2
        while not _has_ended(child):
            if time.monotonic() > end:
                _left_behind.append(child)
                break
            time.sleep(0.001)
    kind, _, text = content.decode(errors="replace").partition(" ")
    if kind == "done":
        return text
    number, _, name = text.partition(" ")
    if kind != "failed":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    raise OSError(int(number), os.strerror(int(number)), name)


def _work(work: Callable[[], str], answer: int) -> NoReturn:
    """The child's whole life."""
    status = 1
    try:
        # What hangs here must keep nobody's connection or lock.
        for each in [int(entry.name) for entry in DESCRIPTORS.iterdir()]:
            if each not in (0, 1, 2, answer):
                with contextlib.suppress(OSError):
                    os.close(each)
        try:
            said = f"done {work()}"
        except OSError as error:
            said = f"failed {error.errno or errno.EIO} {error.filename or error.strerror}"
        content = said.encode()
        while content:
            content = content[os.write(answer, content) :]
        status = 0
    finally:
        os._exit(status)


def _wait(answer: int, seconds: float) -> bytes:
    """Everything that the child says until it ends."""
    end, content = time.monotonic() + seconds, b""
    while True:
        ready, _, _ = select.select([answer], [], [], max(end - time.monotonic(), 0))
        if not ready:
            raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")
        part = os.read(answer, READ_BYTES)
        if not part:
            return content
        content += part


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


@contextlib.contextmanager
def _opened(folder: Folder, *, is_made: bool = False) -> Iterator[int]:
    """The folder's descriptor. The way to the mount point is root's; below it, every link is refused."""
    found, path = os.open(folder.mount, os.O_RDONLY | os.O_DIRECTORY), folder.mount.rstrip("/")
    for part in folder.below.split("/") if folder.below else ():
        path = f"{path}/{part}"
        try:
            found = _made(found, part, 0o755) if is_made else os.open(part, FOLDER, dir_fd=found)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
    yield found


def _made(inside: int, name: str, mode: int) -> int:
    """The descriptor of a folder that is made where it is not there."""
    try:
        os.mkdir(name, 0o700, dir_fd=inside)
        made = os.open(name, FOLDER, dir_fd=inside)
        os.fchmod(made, mode)
    except FileExistsError:
        made = os.open(name, FOLDER, dir_fd=inside)
    return made


def _write(inside: int, name: str, content: bytes, mode: int) -> None:
    file = os.open(name, NEW_FILE, mode, dir_fd=inside)
    while content:
        content = content[os.write(file, content) :]
    os.fsync(file)
    os.close(file)


def _copy_tree(source: int, target: int) -> None:
    """Copy what is in one opened folder to another one, which is empty, and its owner, mode and time."""
    with os.scandir(source) as entries:
        names = [each.name for each in entries]
    for name in names:
        seen = os.lstat(name, dir_fd=source)
        if stat.S_ISDIR(seen.st_mode):
            inner, made = os.open(name, FOLDER, dir_fd=source), _made(target, name, 0o700)
            _copy_tree(inner, made)
            os.close(inner)
            os.close(made)
        elif stat.S_ISREG(seen.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(seen.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, seen.st_uid, seen.st_gid, dir_fd=target, follow_symlinks=False)
        # Sockets and pipes are nothing without the processes that have ended.
    _give_as(target, os.fstat(source))


def _copy_file(source: int, target: int, name: str) -> None:
    read = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
    written = os.open(name, NEW_FILE, 0o600, dir_fd=target)
    while content := os.read(read, COPY_BYTES):
        while content:
            content = content[os.write(written, content) :]
    _give_as(written, os.fstat(read))
    os.close(read)
    os.close(written)


def _give_as(copy: int, seen: os.stat_result) -> None:
    """Owner, mode and time of what was copied; never set-user-ID or set-group-ID."""
    if os.geteuid() == 0:
        os.fchown(copy, seen.st_uid, seen.st_gid)
    os.fchmod(copy, stat.S_IMODE(seen.st_mode) & 0o1777)
    os.utime(copy, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _remove_tree(inside: int, name: str) -> None:
    """Take a folder away with what is in it, or a file."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=inside).st_mode):
        os.unlink(name, dir_fd=inside)
        return
    found = os.open(name, FOLDER, dir_fd=inside)
    with os.scandir(found) as entries:
        names = [each.name for each in entries]
    for each in names:
        _remove_tree(found, each)
    os.close(found)
    os.rmdir(name, dir_fd=inside)
