"""Route 53: hosted zones and records."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ..aws import Aws, tag_list
from ..table import ResourceType
from ..values import Properties


def _zone_id(answer: Mapping[str, Any]) -> str:
    return str(answer["HostedZone"]["Id"].rpartition("/")[2])


def _vpc(aws: Aws, vpc: str) -> dict[str, str]:
    return {"VPCRegion": aws.region, "VPCId": vpc}


def _create_zone(aws: Aws, inputs: Properties) -> str:
    vpcs = [item["vpcId"] for item in inputs.get("vpcs", [])]
    first = {"VPC": _vpc(aws, vpcs[0])} if vpcs else {}
    answer = aws.call(
        "route53.create_hosted_zone",
        Name=inputs["name"],
        CallerReference=secrets.token_hex(16),
        HostedZoneConfig={"Comment": inputs["comment"], "PrivateZone": bool(vpcs)},
        **first,
    )
    return _zone_id(answer)


def _zone(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    answer = aws.call("route53.get_hosted_zone", Id=identifier)
    tags = aws.call(
        "route53.list_tags_for_resource", ResourceType="hostedzone", ResourceId=identifier
    )
    servers = answer.get("DelegationSet", {}).get("NameServers", [])
    return {
        "zoneId": identifier,
        "name": answer["HostedZone"]["Name"].rstrip("."),
        "comment": answer["HostedZone"]["Config"].get("Comment", ""),
        "vpcs": [
            {"vpcId": vpc["VPCId"], "vpcRegion": vpc["VPCRegion"]} for vpc in answer.get("VPCs", [])
        ],
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else None,
        "arn": f"arn:aws:route53:::hostedzone/{identifier}",
        "tags": tags["ResourceTagSet"]["Tags"],
    }


def _comment(aws: Aws, identifier: str, inputs: Properties) -> None:
    aws.call("route53.update_hosted_zone_comment", Id=identifier, Comment=inputs["comment"])


def _zone_vpcs(aws: Aws, identifier: str, inputs: Properties) -> None:
    answer = aws.call("route53.get_hosted_zone", Id=identifier)
    present = {vpc["VPCId"] for vpc in answer.get("VPCs", [])}
    wanted = {item["vpcId"] for item in inputs.get("vpcs", [])}
    for vpc in sorted(wanted - present):
        operation = "route53.associate_vpc_with_hosted_zone"
        aws.call(operation, HostedZoneId=identifier, VPC=_vpc(aws, vpc))
    for vpc in sorted(present - wanted):
        operation = "route53.disassociate_vpc_from_hosted_zone"
        aws.call(operation, HostedZoneId=identifier, VPC=_vpc(aws, vpc))


def _delete_zone(aws: Aws, identifier: str, inputs: Properties) -> None:
    if inputs.get("forceDestroy"):
        for record in _records(aws, identifier):
            if record["Type"] not in ("NS", "SOA"):
                _change(aws, identifier, "DELETE", record)
    aws.call("route53.delete_hosted_zone", Id=identifier)


def _tag_zone(aws: Aws, identifier: str, tags: Mapping[str, str], removed: list[str]) -> None:
    changes: dict[str, Any] = {"AddTags": tag_list(tags)} if tags else {}
    if removed:
        changes["RemoveTagKeys"] = removed
    aws.call(
        "route53.change_tags_for_resource",
        ResourceType="hostedzone",
        ResourceId=identifier,
        **changes,
    )


def _records(aws: Aws, zone: str) -> list[dict[str, Any]]:
    operation = "route53.list_resource_record_sets"
    return aws.pages(operation, "ResourceRecordSets", HostedZoneId=zone)


def _change(aws: Aws, zone: str, action: str, record: Mapping[str, Any]) -> None:
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    aws.call("route53.change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch)


def _full_name(aws: Aws, zone: str, name: str) -> str:
    """A record's name with its zone, which the program may leave out."""
    domain = aws.call("route53.get_hosted_zone", Id=zone)["HostedZone"]["Name"].rstrip(".")
    name = name.rstrip(".")
    if name == domain or name.endswith(f".{domain}"):
        return name
    return f"{name}.{domain}" if name else str(domain)


def _record_set(aws: Aws, inputs: Properties) -> dict[str, Any]:
    return {
        "Name": _full_name(aws, inputs["zoneId"], inputs["name"]),
        "Type": inputs["type"],
        "TTL": inputs.get("ttl", 300),
        "ResourceRecords": [{"Value": value} for value in inputs.get("records", [])],
    }


def _create_record(aws: Aws, inputs: Properties) -> str:
    record = _record_set(aws, inputs)
    _change(aws, inputs["zoneId"], "CREATE", record)
    return f"{inputs['zoneId']}_{record['Name']}_{record['Type']}"


def _update_record(aws: Aws, identifier: str, inputs: Properties) -> None:
    _change(aws, inputs["zoneId"], "UPSERT", _record_set(aws, inputs))


def _found_record(aws: Aws, identifier: str) -> dict[str, Any] | None:
    zone, _, rest = identifier.partition("_")
    name, _, kind = rest.rpartition("_")
    for record in _records(aws, zone):
        if (record["Name"].rstrip("."), record["Type"]) == (name, kind):
            return record
    return None


def _record(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    record = _found_record(aws, identifier)
    if record is None:
        return None
    zone, full_name = identifier.partition("_")[0], record["Name"].rstrip(".")
    asked = inputs.get("name")
    same = asked is not None and _full_name(aws, zone, asked) == full_name
    return {
        "zoneId": zone,
        "name": asked if same else full_name,
        "fqdn": full_name,
        "type": record["Type"],
        "ttl": record.get("TTL"),
        "records": [item["Value"] for item in record.get("ResourceRecords", [])],
    }


def _delete_record(aws: Aws, identifier: str, inputs: Properties) -> None:
    record = _found_record(aws, identifier)
    if record is not None:
        _change(aws, identifier.partition("_")[0], "DELETE", record)


TYPES = {
    "aws:route53/zone:Zone": ResourceType(
        fixed="name",
        needed="name",
        updates={"comment": _comment, "vpcs": _zone_vpcs},
        twice="vpcs",
        local="forceDestroy",
        defaults={"comment": "Managed by Pulumi"},
        nested={"vpcs": "vpcId"},
        unordered="vpcs",
        create=_create_zone,
        read=_zone,
        delete=_delete_zone,
        tagger=_tag_zone,
    ),
    "aws:route53/record:Record": ResourceType(
        fixed="zoneId name type",
        updates={"ttl records": _update_record},
        unordered="records",
        create=_create_record,
        read=_record,
        delete=_delete_record,
    ),
}
