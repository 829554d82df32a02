"""Data Lifecycle Manager, which moto lacks: snapshot policies are kept and told, and take no snapshot by themselves."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

from moto.iam import iam_backends

from ..account import ACCOUNT

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d+/([\w-]+)/dlm/aws4_request")

_policies: dict[str, dict[str, dict[str, Any]]] = {}
"""Region to id to policy, as GetLifecyclePolicy tells it."""


class _RefusedError(Exception):
    """What AWS answers instead: HTTP status, code and message."""


def beside(application: Application) -> Application:
    """An application that answers for this service, and leaves the rest to *application*."""
    _policies.clear()

    def answering(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        signed = _SIGNED_FOR.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed is None:
            return application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = [("Content-Type", "application/json")]
        try:
            answer = _answer(signed[1], environ, json.loads(body or b"{}"))
            status = "200 OK"
        except _RefusedError as refused:
            status, code, message = refused.args
            headers.append(("x-amzn-ErrorType", code))
            answer = {"Code": code, "Message": message}
        start_response(status, headers)
        return [json.dumps(answer).encode()]

    return answering


def _answer(region: str, environ: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    method = environ["REQUEST_METHOD"]
    query = parse_qs(environ.get("QUERY_STRING", ""))
    kind, _, name = unquote(environ["PATH_INFO"]).strip("/").partition("/")
    known = _policies.setdefault(region, {})
    if kind == "policies" and not name:
        if method == "POST":
            return {"PolicyId": _create(region, asked)}
        return {"Policies": [each for each in known.values() if _has(each, query)]}
    policy = known.get(name.rpartition("/")[2])
    if policy is None:
        raise _RefusedError(
            "404 Not Found", "ResourceNotFoundException", f"There is no policy {name}"
        )
    if kind == "tags":
        changed = {**policy["Tags"], **asked.get("Tags", {})}
        gone = query.get("tagKeys", [])
        policy["Tags"] = {key: value for key, value in changed.items() if key not in gone}
        return {}
    if method == "GET":
        return {"Policy": policy}
    if method == "DELETE":
        del known[policy["PolicyId"]]
        return {}
    policy |= _assumable(asked)
    return {}


def _create(region: str, asked: dict[str, Any]) -> str:
    identifier = f"policy-{uuid.uuid4().hex[:17]}"
    _policies[region][identifier] = {
        "Tags": {},
        **_assumable(asked),
        "PolicyId": identifier,
        "PolicyArn": f"arn:aws:dlm:{region}:{ACCOUNT}:policy/{identifier}",
    }
    return identifier


def _assumable(asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked. AWS refuses a role that the service cannot take."""
    arn = asked.get("ExecutionRoleArn")
    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    trusted = [each.assume_role_policy_document for each in roles if each.arn == arn]
    if arn is not None and not any("dlm.amazonaws.com" in str(each) for each in trusted):
        raise _RefusedError(
            "400 Bad Request", "InvalidRequestException", f"Unable to assume the role {arn}"
        )
    return asked


def _has(policy: dict[str, Any], query: dict[str, list[str]]) -> bool:
    """Whether a policy is of these ids and has the tags of its targets that were asked for."""
    targets = {
        f"{each['Key']}={each['Value']}" for each in policy["PolicyDetails"].get("TargetTags", [])
    }
    return policy["PolicyId"] in query.get("policyIds", [policy["PolicyId"]]) and targets >= set(
        query.get("targetTags", [])
    )
