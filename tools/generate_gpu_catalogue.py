"""Refreshes the GPU catalogue and the list prices from what AWS says today.

Run `python -m tools.generate_gpu_catalogue` with AWS credentials (or AWS_ENDPOINT_URL of the
sandbox) when AWS has new GPU machines or other prices. No region has all types, so several are
asked and united; an instance type is the same everywhere, its price is one region's. A GPU that the
program has never seen stops the refresh, because a person has to look up its compute capability.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from model.gpu_catalogue import CATALOGUE_FILE, COMPUTE_CAPABILITY, GpuInstanceType, read_catalogue
from model.prices import LISTED_REGION, PRICES_FILE, cells_of, write_prices
from preflight.price_list import SERVICE_REGION, list_prices

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
        network=described["NetworkInfo"]["NetworkPerformance"],
        encrypts_traffic=described["NetworkInfo"].get("EncryptionInTransitSupported", False),
    )


def write_catalogue(types: Iterable[GpuInstanceType], path: Path) -> None:
    """Writes the CSV that `model.gpu_catalogue` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(GpuInstanceType) if field.name != "price"]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "price_usd_hour", "price_date", "price_source"])
        for each in types:
            writer.writerow([*(getattr(each, name) for name in columns), *cells_of(each.price)])


app = typer.Typer(add_completion=False)


@app.command()
def main(
    region: Annotated[list[str] | None, typer.Option(help="Region to ask; repeat it.")] = None,
    output: Annotated[Path, typer.Option(help="File of the types.")] = CATALOGUE_FILE,
    prices_output: Annotated[Path, typer.Option(help="File of the prices.")] = PRICES_FILE,
) -> None:
    """Write the GPU catalogue and the list prices from what AWS describes."""
    try:
        types = gpu_instance_types(region or REGIONS)
        prices = list_prices(
            boto3.client("pricing", region_name=SERVICE_REGION),
            LISTED_REGION,
            [each.name for each in types],
        )
    except (BotoCoreError, ClientError) as error:
        typer.echo(f"AWS did not list its instance types or their prices: {error}", err=True)
        typer.echo(
            "Sign in (`aws sso login`) with ec2:DescribeInstanceTypes and pricing:GetProducts.",
            err=True,
        )
        raise typer.Exit(1) from None
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    before = read_catalogue(output) if output.exists() else {}
    after = {each.name: replace(each, price=prices.get(each.name)) for each in types}
    write_catalogue(after.values(), output)
    write_prices(prices, prices_output)
    typer.echo(f"{output}: {len(types)} types")
    told = (
        ("new", after.keys() - before.keys()),
        ("gone", before.keys() - after.keys()),
        (
            "another price",
            {each for each in after.keys() & before.keys() if _differ(after[each], before[each])},
        ),
        ("no price", {each.name for each in after.values() if each.price is None}),
    )
    for heading, names in told:
        if names:
            typer.echo(f"{heading}: {', '.join(sorted(names))}")


def _differ(one: GpuInstanceType, other: GpuInstanceType) -> bool:
    return (one.price and one.price.usd) != (other.price and other.price.usd)


if __name__ == "__main__":
    app()
