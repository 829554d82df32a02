"""Phase preflight: is this machine one that can be a node? Whatever is wrong is said at once."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from agent import limits
from agent.failures import HINTS, Failure
from agent.gpu import gpus
from agent.graphistry import vendor
from agent.machine import aws_disks, docker, ports
from agent.machine.commands import run
from agent.node import HOME, Node
from agent.specification import HostPlace
from agent.supported import COMPOSE, TESTED, driver_verdict, knows_override, os_release

CLOCK_SECONDS = 300
"""Sites refuse requests that are 15 minutes off, and logins break much earlier."""
SYSTEMD = Path("/run/systemd/system")


def preflight(node: Node) -> None:
    """Stop what the vendor's image runs, check the machine, configure Docker for GPUs.

    Raises one Failure for all that is wrong.
    """
    with contextlib.suppress(Failure):
        # At once, whatever else is wrong with the machine; a Docker that is still to be started has it done again.
        vendor.stop(node)
    problems: list[Failure] = []
    for check in (_system, _address, _clock, _docker, _vendor, _gpus, _space):
        try:
            check(node)
        except Failure as failure:  # noqa: PERF203, all problems are wanted
            problems.append(failure)
    if not problems:
        return
    first = problems[0]
    if len(problems) == 1:
        raise first
    raise Failure(
        first.code,
        "; ".join(f"{each.code}: {each.message}" for each in problems),
        [line for each in problems for line in each.log],
        "; ".join(HINTS[each.code] for each in problems),
    )


def _system(node: Node) -> None:
    release = os_release(Path("/etc/os-release").read_text())
    name = release.get("PRETTY_NAME", "unknown")
    node.report.version("os", name)
    node.report.version("kernel", os.uname().release)
    known = f"{release.get('ID')} {release.get('VERSION_ID')}" in TESTED
    node.report.check("os", True, name if known else f"{name} (not among the supported ones)")
    if not SYSTEMD.is_dir():
        raise Failure("OsUnsupported", f"{name} does not run systemd")


def _address(node: Node) -> None:
    """Data services are published on it, and a firewall guards it; AWS itself gives a machine its address."""
    place = node.specification.place
    if isinstance(place, HostPlace) and not ports.is_own(place.address):
        raise Failure("AddressMissing", f"this host has no address {place.address}")


def _clock(node: Node) -> None:
    ahead, whose = node.site.clock_seconds(), node.site.clock
    if ahead is None:
        return
    node.report.check("clock", abs(ahead) <= CLOCK_SECONDS, f"{ahead:+.0f} s against {whose}")
    if abs(ahead) > CLOCK_SECONDS:
        raise Failure(
            "ClockSkewed",
            f"the clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {whose}'s;"
            f" {CLOCK_SECONDS} s are allowed",
        )


def _docker(node: Node) -> None:
    docker.prepare()
    runtime = docker.information("{{.DefaultRuntime}}")
    if runtime != "nvidia":
        raise Failure(
            "NvidiaRuntimeMissing",
            f"Docker's default runtime is {runtime!r}, not 'nvidia', after /etc/docker/daemon.json says so",
        )
    _compose()
    version = run(["docker", "version", "--format", "{{.Server.Version}}"]).output.strip()
    node.report.version("docker", version)
    node.report.check("docker", True, f"{version}, default runtime nvidia")


def _compose() -> None:
    done = run(["docker", "compose", "version", "--short"], seconds=30)
    if not done.succeeded:
        raise Failure("ComposeTooOld", "Docker has no compose plugin", done.tail())
    found = done.output.strip().lstrip("v")
    if not knows_override(found):
        raise Failure("ComposeTooOld", f"Docker's compose plugin is {found}; {COMPOSE} is needed")


def _vendor(node: Node) -> None:
    vendor.stop(node)


def _gpus(node: Node) -> None:
    found = gpus.read()
    node.report.set(gpus=[each.described() for each in found])
    driver = found[0].driver if found else ""
    node.report.version("driver", driver)
    gpus.require(found, node.specification.gpus, node.gpus_of_type)
    ok, detail = driver_verdict(driver, node.specification.cuda)
    node.report.check("driver", ok, detail)
    if not ok:
        raise Failure("DriverTooOld", detail)


def _space(node: Node) -> None:
    specification = node.specification
    if specification.release_source == "preinstalled":
        return
    own = limits.FREE_GIB * limits.OWN_PART
    needs = {HOME: own}
    if not (specification.use_local_disks and aws_disks.is_usable()):
        needs[_images()] = limits.FREE_GIB - own
    for folders in _by_file_system(list(needs)):
        free, needed = _free_gib(folders[0]), sum(needs[each] for each in folders)
        if free < needed and not _has_release(node):
            raise Failure(
                "DiskSpaceLow",
                f"{' and '.join(map(str, folders))}: {free:.0f} GiB free; the release needs {needed:g} GiB there",
            )


def _images() -> Path:
    status = docker.information("{{json .DriverStatus}}")
    return docker.images_folder(status, docker.information("{{.DockerRootDir}}"))


def _by_file_system(folders: list[Path]) -> list[list[Path]]:
    """*folders*, those that share their room together."""
    found: dict[int, list[Path]] = {}
    for each in folders:
        found.setdefault(existing(each).stat().st_dev, []).append(each)
    return list(found.values())


def _has_release(node: Node) -> bool:
    """Whether the images are there already, and the space is used for them."""
    name = f"{node.specification.release_version}-{node.specification.cuda}"
    return (HOME / "releases" / name).is_dir()


def _free_gib(folder: Path) -> float:
    return shutil.disk_usage(existing(folder)).free / 2**30


def existing(folder: Path) -> Path:
    """The folder, or what it will be made in."""
    while not folder.exists():
        folder = folder.parent
    return folder
