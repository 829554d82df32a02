"""What kept a download from going on, as a failure with its own code: where on the way it was, and what it said."""

from __future__ import annotations

import email.utils
import re
import socket
import ssl
import time
import urllib.error
from http.client import HTTPMessage

from agent.failures import Failure
from agent.sites.aws import AwsError

TRANSIENT_STATUS = (408, 425, 429)
"""Request Timeout, Too Early, Too Many Requests (RFC 9110, 8470, 6585): the same request may be answered later."""
PROXY_AUTHENTICATION = 407
LONGEST_RETRY_AFTER = 300.0
"""A server may ask for hours; the agent rather reports that, and comes back by itself."""
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")
"""Of http.client, which has no exception of its own for a proxy's answer to CONNECT."""


def final(source: str, error: Exception) -> Failure | None:
    """The failure if asking again cannot help; None otherwise."""
    cause = _cause(error)
    tunnel = _TUNNEL.search(str(cause))
    status = cause.code if isinstance(cause, urllib.error.HTTPError) else None
    if status == PROXY_AUTHENTICATION or (tunnel and _is_final(int(tunnel[1]))):
        return Failure("ReleaseProxyRefused", f"{source}: the proxy answers: {cause}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        said = cause.verify_message or cause
        return Failure("ReleaseTlsRefused", f"{source}: its certificate is not trusted: {said}")
    if isinstance(cause, urllib.error.HTTPError) and _is_final(cause.code):
        return Failure("ReleaseUnavailable", f"{source}: HTTP {cause.code} {cause.reason}")
    return None


def given_up(source: str, error: Exception, tries: int, offset: int, length: int | None) -> Failure:
    """The failure after *tries* without a byte in between, *offset* bytes after the begin."""
    cause = _cause(error)
    where = f" (at byte {offset} of {length or 'an unknown number'})" if offset else ""
    often = f", {tries} times{where}"
    if isinstance(cause, socket.gaierror):
        said = f"its name cannot be resolved: {cause.strerror}"
    elif isinstance(cause, urllib.error.HTTPError):
        said = f"it answers HTTP {cause.code} {cause.reason}"
    elif isinstance(cause, AwsError):
        said = f"it answers {cause}"
    elif isinstance(cause, ConnectionRefusedError):
        said = "the connection is refused"
    elif _TUNNEL.search(str(cause)):
        said = f"the proxy answers: {cause}"
    elif isinstance(cause, ssl.SSLError):
        return Failure("ReleaseTlsRefused", f"{source}: TLS fails: {cause}{often}")
    elif offset or isinstance(cause, ConnectionError):
        at = f"cut {tries} times at byte {offset} of {length or 'an unknown number'}"
        return Failure("ReleaseDownloadCut", f"{source}: {at}: {cause}")
    else:
        said = f"nothing answers: {cause}"
    return Failure("ReleaseUnreachable", f"{source}: {said}{often}")


def wanted_pause(error: Exception) -> float:
    """For how many seconds the server asks to be left alone, 0 if it does not; LONGEST_RETRY_AFTER at most."""
    answer = error if isinstance(error, urllib.error.HTTPError) else error.__cause__
    headers = getattr(answer, "headers", None)
    text = headers.get("Retry-After") if isinstance(headers, HTTPMessage) else None
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _is_final(status: int) -> bool:
    return 400 <= status < 500 and status not in TRANSIENT_STATUS


def _cause(error: Exception) -> Exception:
    """What urllib wraps in an error of its own."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, Exception) else error
