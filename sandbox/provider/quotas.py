"""What moto does not know of Service Quotas: the GPU quotas of EC2, and requests to raise them.

The account is a generous one, unless a file says otherwise, for example {"L-DB2E81BA": 0} for a new account's G types,
and {"L-417A185B": null} where the region has no such quota.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.servicequotas.responses import ServiceQuotasResponse

from model.quota import QUOTAS

LIMIT = 4096
"""vCPUs of each GPU quota: enough for every stack file that comes with the project."""

EC2 = "ec2"


def mend(file: Path) -> None:
    """Let the account have EC2's GPU quotas, with the limits that *file* says; call it once, before moto serves."""
    of_vpc = ServiceQuotasResponse.get_service_quota

    def get(request: Any) -> str:
        asked = json.loads(request.body)
        if asked["ServiceCode"] != EC2:
            answer: str = of_vpc(request)
            return answer
        return json.dumps({"Quota": _known(request, asked["QuotaCode"], limits(file))})

    def get_default(request: Any) -> str:
        """What a new account has."""
        found = _known(request, json.loads(request.body)["QuotaCode"], limits(file))
        return json.dumps({"Quota": {**found, "Value": 0.0}})

    def list_all(request: Any) -> str:
        every = limits(file)
        return json.dumps({"Quotas": [_quota(request, code, every[code]) for code in every]})

    def ask_for_more(request: Any) -> str:
        asked = json.loads(request.body)
        found = _known(request, asked["QuotaCode"], limits(file))
        pending = [each for each in _history(request, found["QuotaCode"]) if _is_open(each)]
        if pending:
            raise JsonRESTError(
                "ResourceAlreadyExistsException",
                "Only one open service quota increase request is allowed per quota.",
            )
        if asked["DesiredValue"] <= found["Value"]:
            raise JsonRESTError(
                "IllegalArgumentException",
                "The quota value you requested must be greater than the current value.",
            )
        made = {
            "Id": uuid.uuid4().hex,
            "CaseId": "",
            "DesiredValue": asked["DesiredValue"],
            "Status": "PENDING",
            "Created": datetime.now(UTC).timestamp(),
            **{name: found[name] for name in ("ServiceCode", "ServiceName", "QuotaCode")},
            **{name: found[name] for name in ("QuotaName", "QuotaArn", "GlobalQuota", "Unit")},
        }
        _requests(request).append(made)
        return json.dumps({"RequestedQuota": made})

    ServiceQuotasResponse.get_service_quota = get
    ServiceQuotasResponse.get_aws_default_service_quota = get_default
    ServiceQuotasResponse.list_service_quotas = list_all
    ServiceQuotasResponse.request_service_quota_increase = ask_for_more
    ServiceQuotasResponse.list_requested_service_quota_change_history_by_quota = _answer


def limits(file: Path) -> dict[str, float]:
    """Code of each quota to its limit. Raises ValueError for a code that is none of the GPU quotas'."""
    found: dict[str, float | None] = dict.fromkeys((each.code for each in QUOTAS), LIMIT)
    said = json.loads(file.read_text()) if file.exists() else {}
    unknown = sorted(set(said) - set(found))
    if unknown:
        raise ValueError(f"{file}: got {', '.join(unknown)}; allowed are {', '.join(found)}")
    return {code: value for code, value in {**found, **said}.items() if value is not None}


def _answer(request: Any) -> str:
    """ListRequestedServiceQuotaChangeHistoryByQuota: every request of one quota; the newest first."""
    code = json.loads(request.body)["QuotaCode"]
    return json.dumps({"RequestedQuotas": _history(request, code)[::-1]})


def _known(request: Any, code: str, every: dict[str, float]) -> dict[str, Any]:
    if code not in every:
        raise JsonRESTError(
            "NoSuchResourceException", "The request failed because the specified quota is not found"
        )
    return _quota(request, code, every[code])


def _quota(request: Any, code: str, limit: float) -> dict[str, Any]:
    (name,) = (each.name for each in QUOTAS if each.code == code)
    return {
        "ServiceCode": EC2,
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{request.region}:{request.current_account}:{EC2}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(limit),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _history(request: Any, code: str) -> list[dict[str, Any]]:
    return [each for each in _requests(request) if each["QuotaCode"] == code]


def _is_open(request: dict[str, Any]) -> bool:
    return request["Status"] in ("PENDING", "CASE_OPENED")


def _requests(request: Any) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = request.backend.__dict__.setdefault("requests", [])
    return kept
