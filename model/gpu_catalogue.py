"""The GPU instance types of EC2 and which of them can be a node.

The facts live in `gpu_instance_types.csv`, every NVIDIA type that DescribeInstanceTypes lists, with
its list price where one was found. The file is data, refreshed by
`python -m tools.generate_gpu_catalogue`; this module owns what the API does not say: the compute
capability of each GPU, and why a type is out of the question.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.prices import ListPrice, price_of

CATALOGUE_FILE = Path(__file__).with_name("gpu_instance_types.csv")

# NVIDIA's table of CUDA GPUs, keyed by the name that DescribeInstanceTypes gives the GPU.
COMPUTE_CAPABILITY: Mapping[str, tuple[int, int]] = {
    "V100": (7, 0),
    "T4": (7, 5),
    "T4g": (7, 5),
    "A100": (8, 0),
    "A10G": (8, 6),
    "L4": (8, 9),
    "L40S": (8, 9),
    "H100": (9, 0),
    "H200": (9, 0),
    "B200": (10, 0),
    "B300": (10, 3),
    "RTX PRO 4500": (12, 0),
    "RTX PRO Server 6000": (12, 0),
}


@dataclass(frozen=True)
class GpuInstanceType:
    """One row of the catalogue: what a machine of this type brings.

    Memory is in MiB as AWS reports it (`gpu_memory_mib` is per GPU), `local_disk_gb` is the sum of
    the instance store in GB (0 = none), `network` is in AWS's words. `gpus` is 0 for a type that
    rents out a share of one GPU. `encrypts_traffic` says whether the hardware encrypts what it exchanges with another
    such machine of the network. `price` is Linux on demand for an hour, None where unknown.
    """

    name: str
    architecture: str
    vcpus: int
    memory_mib: int
    gpu_name: str
    gpus: int
    gpu_memory_mib: int
    local_disk_gb: int
    network: str
    encrypts_traffic: bool
    price: ListPrice | None = None

    @property
    def compute_capability(self) -> tuple[int, int]:
        """The GPU's compute capability as (major, minor), which decides the usable CUDA
        flavours."""
        return COMPUTE_CAPABILITY[self.gpu_name]


def read_catalogue(path: Path = CATALOGUE_FILE) -> dict[str, GpuInstanceType]:
    """Every row of the CSV by type name, usable or not. Raises `ValueError` for a malformed row."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: _instance_type(row) for row in csv.DictReader(file)}


def _instance_type(row: Mapping[str, str]) -> GpuInstanceType:
    return GpuInstanceType(
        name=row["name"],
        architecture=row["architecture"],
        vcpus=int(row["vcpus"]),
        memory_mib=int(row["memory_mib"]),
        gpu_name=row["gpu_name"],
        gpus=int(row["gpus"]),
        gpu_memory_mib=int(row["gpu_memory_mib"]),
        local_disk_gb=int(row["local_disk_gb"]),
        network=row["network"],
        encrypts_traffic=row["encrypts_traffic"] == "True",
        price=price_of(row["price_usd_hour"], row["price_date"], row["price_source"]),
    )


def _reason_against(instance_type: GpuInstanceType) -> str | None:
    if instance_type.architecture != "x86_64":
        return "it has an ARM processor, and Graphistry publishes x86 images only"
    if instance_type.gpus == 0:
        return (
            f"it has a share of one {instance_type.gpu_name} "
            f"({instance_type.gpu_memory_mib / 1024:.0f} GiB), and RAPIDS needs a whole GPU"
        )
    return None


_ALL = read_catalogue()

UNSUPPORTED: Mapping[str, str] = {
    name: reason for name, row in _ALL.items() if (reason := _reason_against(row)) is not None
}
"""Types that exist on EC2 but cannot be a node, with the reason as the end of a sentence."""

CATALOGUE: Mapping[str, GpuInstanceType] = {
    name: row for name, row in _ALL.items() if name not in UNSUPPORTED
}
"""Types a GPU profile may name: x86 with at least one whole NVIDIA GPU."""
