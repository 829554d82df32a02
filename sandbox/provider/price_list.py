"""The Price List service, which moto lacks: GetProducts with the prices that come with the program.

They are those of one region. A file sets others, by region, instance type or name in
`model.prices.UNITS`, for example {"eu-west-1": {"g5.xlarge": 1.123, "NAT gateway": null}}; null is a
product that AWS does not have.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

from model import prices
from model.cost import LISTED
from model.prices import LISTED_REGION, UNITS, ListPrice

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

TARGET = "AWSPriceListService.GetProducts"
PAGE = 100
"""Products of an answer at most, as on AWS."""

_ATTRIBUTES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    prices.VOLUME: ("AmazonEC2", "EBS:VolumeUsage.gp3", "GB-Mo", {"volumeApiName": "gp3"}),
    prices.VOLUME_IOPS: ("AmazonEC2", "EBS:VolumeP-IOPS.gp3", "IOPS-Mo", {"volumeApiName": "gp3"}),
    prices.VOLUME_THROUGHPUT: (
        "AmazonEC2",
        "EBS:VolumeP-Throughput.gp3",
        "GiBps-mo",
        {"volumeApiName": "gp3"},
    ),
    prices.SNAPSHOT: (
        "AmazonEC2",
        "EBS:SnapshotUsage",
        "GB-Mo",
        {"productFamily": "Storage Snapshot"},
    ),
    prices.NAT_GATEWAY: (
        "AmazonEC2",
        "NatGateway-Hours",
        "Hrs",
        {"productFamily": "NAT Gateway"},
    ),
    prices.PUBLIC_ADDRESS: ("AmazonVPC", "USE1-PublicIPv4:InUseAddress", "Hrs", {}),
    prices.FILE_SYSTEM: ("AmazonEFS", "USE1-TimedStorage-ByteHrs", "GB-Mo", {}),
    prices.FILE_SYSTEM_THROUGHPUT: (
        "AmazonEFS",
        "USE1-ProvisionedTP-MiBpsHrs",
        "MiBps-Mo",
        {},
    ),
}
"""Service, usage type, unit and further attributes of what is not a machine."""


SPOT_SHARE = Decimal("0.35")
"""What the sandbox's spot machines cost of the on-demand price: a made-up one, where moto's is next to nothing."""


def mend_spot(file: Path) -> None:
    """Let spot prices follow the on-demand ones, *file*'s too; call it once, before moto serves."""
    answer = EC2Response.describe_spot_price_history

    def describe(request: Any) -> ActionResult:
        told = answer(request)._result
        known = known_prices(file)
        for each in told["SpotPriceHistory"]:
            listed = known.get((each["AvailabilityZone"][:-1], each["InstanceType"]))
            if listed is not None:
                each["SpotPrice"] = f"{listed.usd * SPOT_SHARE:.6f}"
        return ActionResult(told)

    EC2Response.describe_spot_price_history = describe


def beside(application: Application, file: Path | None) -> Application:
    """An application that answers for this service, and leaves the rest to *application*."""

    def answering(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_X_AMZ_TARGET") != TARGET:
            return application(environ, start_response)
        request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        status, answer = _answer(request, file)
        start_response(status, [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps(answer).encode()]

    return answering


def known_prices(file: Path | None) -> dict[tuple[str, str], ListPrice]:
    """Region and name to the price. Raises `ValueError` for a name that nothing here has."""
    found = {(LISTED_REGION, name): each for name, each in LISTED.items()}
    if file is None or not file.exists():
        return found
    for region, those in json.loads(file.read_text(), parse_float=Decimal).items():
        unknown = [name for name in those if name not in UNITS and "." not in name]
        if unknown:
            raise ValueError(f"{file}: got {', '.join(unknown)}; allowed: {', '.join(UNITS)}")
        for name, usd in those.items():
            found.pop((region, name), None)
            if usd is not None:
                today = f"{datetime.now(UTC):%Y-%m-%d}"
                found[region, name] = ListPrice(Decimal(usd), today, str(file), region)
    return found


def _answer(request: dict[str, Any], file: Path | None) -> tuple[str, dict[str, Any]]:
    filters = request.get("Filters", [])
    strange = sorted({each["Type"] for each in filters} - {"TERM_MATCH"})
    if strange:
        message = f"the sandbox knows filters of the type TERM_MATCH, got {', '.join(strange)}"
        return "400 Bad Request", {"__type": "InvalidParameterException", "message": message}
    products = [
        product
        for product in itertools.starmap(_product, known_prices(file).items())
        if product["serviceCode"] == request["ServiceCode"]
        and all(_attributes(product).get(each["Field"]) == each["Value"] for each in filters)
    ]
    start = int(request.get("NextToken") or 0)
    end = start + min(PAGE, request.get("MaxResults", PAGE))
    more = {"NextToken": str(end)} if end < len(products) else {}
    page = [json.dumps(each) for each in products[start:end]]
    return "200 OK", {"FormatVersion": "aws_v1", "PriceList": page, **more}


def _attributes(product: dict[str, Any]) -> dict[str, str]:
    described = product["product"]
    return {**described["attributes"], "productFamily": described["productFamily"]}


def _product(key: tuple[str, str], known: ListPrice) -> dict[str, Any]:
    region, name = key
    machine = {
        "instanceType": name,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "productFamily": "Compute Instance",
    }
    of_machine = ("AmazonEC2", f"BoxUsage:{name}", "Hrs", machine)
    service, usage_type, unit, attributes = _ATTRIBUTES.get(name, of_machine)
    others = {key: value for key, value in attributes.items() if key != "productFamily"}
    sku = hashlib.sha256(f"{region} {name}".encode()).hexdigest()[:16].upper()
    usd = known.usd * 1024 if unit == "GiBps-mo" else known.usd
    dimension = {"unit": unit, "beginRange": "0", "pricePerUnit": {"USD": f"{usd:.10f}"}}
    return {
        "product": {
            "productFamily": attributes.get("productFamily", "Storage"),
            "attributes": {**others, "regionCode": region, "usagetype": usage_type},
            "sku": sku,
        },
        "serviceCode": service,
        "terms": {"OnDemand": {f"{sku}.T": {"priceDimensions": {f"{sku}.T.D": dimension}}}},
        "publicationDate": f"{known.date}-01-01"[:10] + "T00:00:00Z",
    }
