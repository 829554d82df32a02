"""Answers of AWS that only a bad day gives: calls that it denies or throttles, credentials it refuses, another clock.

A file says which, for example {"ec2:DescribeInstances": "RequestLimitExceeded", "sts:GetCallerIdentity":
"ExpiredToken"}, by the names that policies give the operations; `"clock": 600` puts AWS's clock so many seconds ahead.
Without it AWS answers everything. Only operations of services that name them in the request are known: not S3 and EFS.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

SIGNATURE_SECONDS = 300
"""How far the clock of a signature may be from AWS's."""


def refusing(application: Application, file: Path) -> Application:
    """The same application, but for what *file* says."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not file.exists():
            return application(environ, start_response)
        said = json.loads(file.read_text())
        ahead = timedelta(seconds=said.get("clock", 0))
        date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
        service, operation = _named(environ)
        code = said.get(f"{service}:{operation}")
        message = f"User is not authorized to perform: {service}:{operation}" if code else ""
        if abs(ahead.total_seconds()) > SIGNATURE_SECONDS:
            code, message = "SignatureDoesNotMatch", f"Signature expired: it is {date} here"
        if code is None:
            return application(environ, start_response)
        kind, body = _refusal(environ, service, code, message)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Date", date)]
        start_response("400 Bad Request", headers)
        return [body]

    return answer


def _named(environ: dict[str, Any]) -> tuple[str, str]:
    """Service and operation of a request, from its signature and from its target or form."""
    scope = re.search(
        r"Credential=[^,]*/([^/]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", "")
    )
    service = scope.group(1) if scope else ""
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return service, target.rpartition(".")[2]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return service, parse_qs(body.decode()).get("Action", [""])[0]
    return service, ""


def _refusal(environ: dict[str, Any], service: str, code: str, message: str) -> tuple[str, bytes]:
    """Content type and body of a refusal, in the notation of the service."""
    if "HTTP_X_AMZ_TARGET" in environ:
        kind = environ.get("CONTENT_TYPE", "application/x-amz-json-1.1")
        return kind, json.dumps({"__type": code, "message": message}).encode()
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if service == "ec2":
        return "text/xml", f"<Response><Errors>{error}</Errors></Response>".encode()
    return "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
