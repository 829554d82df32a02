"""GPUs and workers of a node: the vendor's rule of thumb, applied to what machines really have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.gpu_catalogue import CATALOGUE
from model.settings.read import parse
from model.settings.sections import WorkersPerGpu
from model.workers import GpuAllocation, gpu_allocation, node_allocation
from tests.model.examples import FULL, SMALLEST, changed

T4 = CATALOGUE["g4dn.2xlarge"]
EIGHT_T4 = CATALOGUE["g4dn.metal"]


@pytest.mark.parametrize(
    ("gpus", "devices", "forge", "streamgl", "dask"),
    [
        (1, "0", 4, 4, 1),
        (2, "0,1", 8, 8, 2),
        (4, "0,1,2,3", 16, 16, 4),
        (8, "0,1,2,3,4,5,6,7", 32, 32, 8),
    ],
)
def test_the_vendors_worked_values_come_out(
    gpus: int, devices: str, forge: int, streamgl: int, dask: int
) -> None:
    assert gpu_allocation([EIGHT_T4], gpus, None) == GpuAllocation(
        gpus, devices, forge, streamgl, dask
    )


@pytest.mark.parametrize(
    ("gpu_gib", "host_gib", "gpus", "workers"),
    [
        (16, 16, 1, 4),
        (24, 16, 1, 4),
        (12, 64, 1, 3),
        (3, 64, 1, 1),
        (16, 8, 1, 2),
        (16, 2, 1, 1),
        (16, 32, 4, 8),
        (16, 8, 4, 4),
    ],
)
def test_workers_follow_gpu_memory_and_host_memory_but_every_gpu_gets_one(
    gpu_gib: int, host_gib: int, gpus: int, workers: int
) -> None:
    machine = replace(T4, gpus=gpus, gpu_memory_mib=gpu_gib * 1024, memory_mib=host_gib * 1024)
    allocation = gpu_allocation([machine], None, None)
    assert (allocation.forge_workers, allocation.streamgl_workers) == (workers, workers)
    assert allocation.dask_workers == gpus


def test_a_small_host_is_told_that_both_services_together_want_more() -> None:
    (warning,) = gpu_allocation([CATALOGUE["g4dn.xlarge"]], None, None).warnings
    assert "4 forge and 4 StreamGL workers want 32 GiB" in warning
    assert "the machine has 16 GiB" in warning
    assert gpu_allocation([T4], None, None).warnings == ()


def test_the_smallest_of_several_types_decides() -> None:
    small = replace(T4, gpu_memory_mib=8 * 1024)
    assert gpu_allocation([CATALOGUE["g6e.2xlarge"], small], None, None).forge_workers == 2


def test_an_override_replaces_only_the_services_it_names_and_is_per_gpu() -> None:
    allocation = gpu_allocation([EIGHT_T4], 2, WorkersPerGpu(forge=1, dask=3))
    assert (allocation.forge_workers, allocation.streamgl_workers) == (2, 8)
    assert allocation.dask_workers == 6


def test_an_override_beyond_the_host_memory_is_kept_with_a_warning() -> None:
    allocation = gpu_allocation([T4], None, WorkersPerGpu(forge=16))
    assert allocation.forge_workers == 16
    assert len(allocation.warnings) == 1


@pytest.mark.parametrize("gpus", [0, 2])
def test_more_gpus_than_the_machine_has_are_refused(gpus: int) -> None:
    with pytest.raises(ValueError, match=f"{gpus} GPUs asked for"):
        gpu_allocation([T4], gpus, None)


def test_no_instance_type_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one instance type"):
        gpu_allocation([], None, None)


def test_a_node_takes_profile_and_its_own_gpus_from_the_settings() -> None:
    settings = parse(FULL)
    big = node_allocation(settings, "big")
    assert (big.gpus, big.forge_workers, big.streamgl_workers, big.dask_workers) == (2, 4, 6, 2)
    assert node_allocation(settings, "leader").cuda_visible_devices == "0"


@given(st.sampled_from(sorted(CATALOGUE)))
def test_every_type_of_the_catalogue_makes_a_node(name: str) -> None:
    changes: dict[str, object] = {
        "gpuProfiles.t4.instanceTypes": [name],
        "image.id": "ami-00000000",
    }
    allocation = node_allocation(parse(changed(SMALLEST, changes)), "leader")
    assert allocation.gpus == CATALOGUE[name].gpus <= allocation.forge_workers
