"""How many GPUs a node uses and how many workers each Graphistry service starts on them.

The vendor's wizard multiplies GPUs by four whatever their memory is. Here the vendor's own rule of
thumb is applied instead: a forge or StreamGL worker wants 4 GB of GPU memory and 4 GB of host
memory, counted per service, and Dask runs one worker per GPU. A node whose profile lists several
instance types may get any of them, so the numbers come from the smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from model.gpu_catalogue import CATALOGUE
from model.settings.aws import FollowersOnAws
from model.settings.hosts import FollowersOnHosts
from model.settings.sections import WorkersPerGpu

GIB_PER_WORKER = 4
MOST_WORKERS_PER_GPU = 4
DASK_WORKERS_PER_GPU = 1


class Size(Protocol):
    """What worker counts follow from: an instance type, or a host's profile."""

    @property
    def gpus(self) -> int:
        """GPUs of the machine."""

    @property
    def gpu_memory_mib(self) -> int:
        """Memory of each."""

    @property
    def memory_mib(self) -> int:
        """Memory of the machine."""


@dataclass(frozen=True)
class GpuAllocation:
    """The GPU side of one node: what goes into its environment.

    Worker counts are totals of the node, not per GPU. `cuda_visible_devices` lists GPU indexes
    from 0, as "0,1". `warnings` are sentences for the operator; the deployment goes on.
    """

    gpus: int
    cuda_visible_devices: str
    forge_workers: int
    streamgl_workers: int
    dask_workers: int
    warnings: tuple[str, ...] = ()


def node_allocation(settings: FollowersOnAws | FollowersOnHosts, node: str) -> GpuAllocation:
    """The allocation of one node by name ("leader" or a follower's). Raises `KeyError` if
    unknown."""
    if isinstance(settings, FollowersOnHosts):
        size = settings.profile_of(node)
        return gpu_allocation([size], settings.gpus_of(node), size.workers_per_gpu)
    profile = settings.profile_of(node)
    types = [CATALOGUE[name] for name in profile.instance_types]
    return gpu_allocation(types, settings.gpus_of(node), profile.workers_per_gpu)


def gpu_allocation(
    types: Sequence[Size], gpus: int | None, override: WorkersPerGpu | None
) -> GpuAllocation:
    """GPUs and workers that fit every one of `types`.

    `gpus` None means all of them; `override` replaces the computed count of each service it names,
    host memory or not, and then only a warning is left. Raises `ValueError` when `types` is empty
    or one of them has fewer GPUs than asked for.
    """
    if not types:
        raise ValueError("a node needs at least one instance type")
    fewest = min(each.gpus for each in types)
    used = fewest if gpus is None else gpus
    if not 1 <= used <= fewest:
        raise ValueError(f"{used} GPUs asked for, but the instance types have {fewest}")
    host_gib = min(each.memory_mib for each in types) // 1024
    computed = _workers_per_service(types, used, host_gib)
    asked = override or WorkersPerGpu()
    forge = computed if asked.forge is None else asked.forge * used
    streamgl = computed if asked.streamgl is None else asked.streamgl * used
    dask_per_gpu = DASK_WORKERS_PER_GPU if asked.dask is None else asked.dask
    return GpuAllocation(
        gpus=used,
        cuda_visible_devices=",".join(str(index) for index in range(used)),
        forge_workers=forge,
        streamgl_workers=streamgl,
        dask_workers=dask_per_gpu * used,
        warnings=_warnings(forge, streamgl, host_gib),
    )


def _workers_per_service(types: Sequence[Size], gpus: int, host_gib: int) -> int:
    gpu_gib = min(each.gpu_memory_mib for each in types) // 1024
    per_gpu = min(MOST_WORKERS_PER_GPU, gpu_gib // GIB_PER_WORKER)
    # A GPU without a worker would idle, so each gets one whatever the memory is.
    return max(gpus, min(per_gpu * gpus, host_gib // GIB_PER_WORKER))


def _warnings(forge: int, streamgl: int, host_gib: int) -> tuple[str, ...]:
    wanted_gib = (forge + streamgl) * GIB_PER_WORKER
    if wanted_gib <= host_gib:
        return ()
    return (
        f"{forge} forge and {streamgl} StreamGL workers want {wanted_gib} GiB of host memory when "
        f"all are busy; the machine has {host_gib} GiB. Choose one with more memory or set fewer "
        "workersPerGpu.",
    )
