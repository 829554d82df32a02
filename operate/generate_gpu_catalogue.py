"""Refreshes the GPU catalogue from what EC2 says about its instance types today.

Run `python -m operate.generate_gpu_catalogue` with AWS credentials (or AWS_ENDPOINT_URL of the
sandbox) when AWS has new GPU machines. No region has all types, so several are asked and united;
an instance type is the same everywhere. A GPU that the program has never seen stops the refresh,
because a person has to look up its compute capability.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from model.gpu_catalogue import CATALOGUE_FILE, COMPUTE_CAPABILITY, GpuInstanceType, read_catalogue

# New GPU types come to these two first.
REGIONS = ("us-east-1", "us-west-2")


def gpu_instance_types(regions: Iterable[str]) -> list[GpuInstanceType]:
    """Every type with an NVIDIA GPU that any of the regions lists, sorted by name.

    Raises the errors of boto3, and `ValueError` for a GPU without known compute capability.
    """
    found = {each.name: each for region in regions for each in _types_of(region)}
    unknown = {each.gpu_name for each in found.values()} - set(COMPUTE_CAPABILITY)
    if unknown:
        raise ValueError(
            f"new GPU: {', '.join(sorted(unknown))}. Add its compute capability, from NVIDIA's "
            "list of CUDA GPUs, to COMPUTE_CAPABILITY in model/gpu_catalogue.py and run this again."
        )
    return sorted(found.values(), key=lambda each: each.name)


def _types_of(region: str) -> Iterator[GpuInstanceType]:
    paginator = boto3.client("ec2", region_name=region).get_paginator("describe_instance_types")
    for page in paginator.paginate():
        for described in page["InstanceTypes"]:
            gpus = described.get("GpuInfo", {}).get("Gpus", [])
            if gpus and gpus[0]["Manufacturer"] == "NVIDIA":
                yield _instance_type(described, gpus[0])


def _instance_type(described: dict[str, Any], gpu: dict[str, Any]) -> GpuInstanceType:
    return GpuInstanceType(
        name=described["InstanceType"],
        architecture=described["ProcessorInfo"]["SupportedArchitectures"][0],
        vcpus=described["VCpuInfo"]["DefaultVCpus"],
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        gpu_name=gpu["Name"],
        gpus=gpu["Count"],
        gpu_memory_mib=gpu["MemoryInfo"]["SizeInMiB"],
        local_disk_gb=described.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
    )


def write_catalogue(types: Iterable[GpuInstanceType], path: Path) -> None:
    """Writes the CSV that `model.gpu_catalogue` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(GpuInstanceType)]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in types)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    region: Annotated[list[str] | None, typer.Option(help="Region to ask; repeat it.")] = None,
    output: Annotated[Path, typer.Option(help="File to write.")] = CATALOGUE_FILE,
) -> None:
    """Write the GPU catalogue from EC2's DescribeInstanceTypes."""
    try:
        types = gpu_instance_types(region or REGIONS)
    except (BotoCoreError, ClientError) as error:
        typer.echo(f"AWS did not list its instance types: {error}", err=True)
        typer.echo("Sign in (`aws sso login`) with ec2:DescribeInstanceTypes.", err=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    before = set(read_catalogue(output)) if output.exists() else set()
    write_catalogue(types, output)
    after = {each.name for each in types}
    typer.echo(f"{output}: {len(types)} types")
    for heading, names in (("new", after - before), ("gone", before - after)):
        if names:
            typer.echo(f"{heading}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    app()
