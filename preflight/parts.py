"""A check made of parts: each is made, whatever AWS answers the others, and what it did not answer is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import BotoCoreError, ClientError

from model.refusals import DENIED, missing_right
from preflight.situation import (
    ATTEMPTS,
    Finding,
    Situation,
    Unanswered,
    UnansweredError,
)

THROTTLED = re.compile("Throttl|RequestLimitExceeded|TooManyRequests|SlowDown")

Part = Callable[[Situation], Iterable[Finding]]


def together(situation: Situation, parts: Sequence[Part]) -> tuple[Finding, ...]:
    """What all parts find, in their order; they are made side by side, so that one slow answer delays no other."""
    with ThreadPoolExecutor(max_workers=len(parts)) as threads:
        found = list(threads.map(lambda part: _made(part, situation), parts))
    return tuple(each for findings in found for each in findings)


def _made(part: Part, situation: Situation) -> tuple[Finding, ...]:
    try:
        return tuple(part(situation))
    except UnansweredError as error:
        return (Unanswered(str(error)),)
    except (BotoCoreError, ClientError) as error:
        return (Unanswered(unanswered(error)),)


def unanswered(error: BotoCoreError | ClientError) -> str:
    """Why AWS did not answer, and what would help. What AWS says in its own words is not repeated in full."""
    if not isinstance(error, ClientError):
        return f"AWS was not reached: {error}"
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if DENIED.search(code):
        right = missing_right(message) or error.operation_name
        return f"the right {right} is missing ({code}); give it to whoever deploys"
    if THROTTLED.search(code):
        return f"AWS throttles {error.operation_name}, {ATTEMPTS} times in a row ({code}); try again in a minute"
    return f"{error.operation_name} failed ({code}): {message[:200]}"
