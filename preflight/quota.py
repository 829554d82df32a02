"""The check ``quota``: whether the account may run what the plan adds to what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from model.gpu_catalogue import read_catalogue
from model.plan import PlannedNode
from model.problems import Problem
from model.quota import (
    Need,
    OpenRequest,
    Present,
    Quota,
    Shortfall,
    need_of,
    problem_of,
    quota_of,
    shortfalls,
)
from model.tags import CLUSTER_TAG
from preflight.situation import Situation, UnansweredError

SERVICE = "ec2"
"""Whose quotas these are, in the words of Service Quotas."""


OPEN = ("PENDING", "CASE_OPENED")
"""States of a request that AWS has not decided."""


def quota(situation: Situation) -> tuple[Problem, ...]:
    """A problem per quota that does not hold the plan, each with what was asked for already."""
    return tuple(
        problem_of(
            each,
            situation.region,
            situation.command("quota-request"),
            _known_request(situation, each.quota),
        )
        for each in shortfalls_of(situation)
    )


def _known_request(situation: Situation, wanted: Quota) -> OpenRequest | None:
    """The open request, where AWS tells: without the right to see it the quota lacks all the same."""
    try:
        return open_request(situation, wanted)
    except (ClientError, BotoCoreError):
        return None


def open_request(situation: Situation, wanted: Quota) -> OpenRequest | None:
    """The request for more of a quota that AWS has not decided. Raises the errors of boto3."""
    pages = situation.client("service-quotas").get_paginator(
        "list_requested_service_quota_change_history_by_quota"
    )
    history = pages.paginate(ServiceCode=SERVICE, QuotaCode=wanted.code)
    every = (each for page in history for each in page["RequestedQuotas"])
    return next(
        (
            OpenRequest(value=int(each["DesiredValue"]), day=f"{each['Created']:%Y-%m-%d}")
            for each in every
            if each["Status"] in OPEN
        ),
        None,
    )


def shortfalls_of(situation: Situation) -> tuple[Shortfall, ...]:
    """The quotas that do not hold the plan.

    Asks for what runs, for the free places of capacity reservations, and once for each quota that the plan adds to,
    however many followers. Raises :class:`UnansweredError` where one cannot be known and every other holds the plan.
    """
    places = _free_places(situation)
    needs = [
        need
        for node in situation.nodes
        if not _has_place(node, places, situation.cluster)
        and (need := _need(node, situation)) is not None
    ]
    wanted = dict.fromkeys(quota_of(each.instance_type, each.market) for each in needs)
    limits = {each: _limit(situation, each) for each in wanted if each and each.code}
    found = shortfalls(needs, limits, _in_use(situation, places)) if limits else ()
    unknown = [each.name for each in wanted if each and not each.code]
    if unknown and not found:
        raise UnansweredError(
            f"AWS's documents disagree about the code of the quota {', '.join(unknown)}; look it up in Service Quotas"
        )
    return found


def _need(node: PlannedNode, situation: Situation) -> Need | None:
    present = situation.machines_of(node.name)
    return need_of(
        node, [Present(instance_type=each.instance_type, zone=each.zone) for each in present]
    )


def _free_places(situation: Situation) -> list[Mapping[str, Any]]:
    """Reservations with free places: AWS counts those against the quota as if machines ran in them."""
    pages = situation.client(SERVICE).get_paginator("describe_capacity_reservations").paginate()
    return [
        each
        for page in pages
        for each in page["CapacityReservations"]
        if each["State"] == "active"
        and each["AvailableInstanceCount"]
        and each.get("ReservationType") != "capacity-block"
    ]


def _has_place(node: PlannedNode, places: Iterable[Mapping[str, Any]], cluster: str) -> bool:
    """Whether a place that counts already is the node's: of the reservation it names, or of the leader's own."""
    for each in places:
        tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
        own = node.name == "leader" and tags.get(CLUSTER_TAG) == cluster
        named = each["CapacityReservationId"] == node.capacity_reservation
        if (named or own) and each["InstanceType"] == node.instance_types[0]:
            return True
    return False


def _limit(situation: Situation, wanted: Quota) -> int:
    """What the account is granted, or what AWS grants everybody where nobody ever asked for more."""
    client = situation.client("service-quotas")
    arguments = {"ServiceCode": SERVICE, "QuotaCode": wanted.code}
    for ask in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return int(ask(**arguments)["Quota"]["Value"])
        except client.exceptions.NoSuchResourceException:
            continue
    raise UnansweredError(
        f"Service Quotas does not list {wanted.name} ({wanted.code}) in {situation.region}, so nobody knows whether "
        f"it holds the plan. `aws service-quotas list-service-quotas --service-code {SERVICE} --region "
        f"{situation.region}` shows what it does; AWS's support knows the limit, and a launch beyond it is refused"
    )


def _in_use(situation: Situation, places: Iterable[Mapping[str, Any]]) -> dict[Quota, int]:
    """vCPUs that count now, by quota."""
    counted = Counter((each.instance_type, each.market) for each in situation.machines())
    for each in places:
        counted[each["InstanceType"], "on-demand"] += each["AvailableInstanceCount"]
    with_quota = [
        (instance_type, found, count)
        for (instance_type, market), count in counted.items()
        if (found := quota_of(instance_type, market))
    ]
    vcpus = _vcpus(situation, {each for each, _, _ in with_quota})
    in_use: Counter[Quota] = Counter()
    for instance_type, found, count in with_quota:
        in_use[found] += count * vcpus[instance_type]
    return in_use


def _vcpus(situation: Situation, types: Iterable[str]) -> dict[str, int]:
    """vCPUs of each type. AWS is asked, once, only for types that the catalogue lacks."""
    known = {name: each.vcpus for name, each in read_catalogue().items()}
    lacking = sorted(set(types) - set(known))
    if lacking:
        pages = situation.client(SERVICE).get_paginator("describe_instance_types")
        for page in pages.paginate(InstanceTypes=lacking):
            for each in page["InstanceTypes"]:
                known[each["InstanceType"]] = each["VCpuInfo"]["DefaultVCpus"]
    return known
