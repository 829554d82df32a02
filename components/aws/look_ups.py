"""A look-up of the program that failed, told in one sentence: what was asked, AWS's code, what would help."""

from __future__ import annotations

import re

from model.refusals import DENIED, missing_right

_FAILED = re.compile(r"invoke of aws:\S+:(?P<asked>\w+) failed: (?P<said>.*)", re.DOTALL)
"""What Pulumi says; it raises nothing narrower than Exception for a look-up that fails."""

_OPERATION = re.compile(r"operation error (\w+): (\w+)")
_LONGEST = 300


def is_denied(error: Exception) -> bool:
    """Whether AWS denies a look-up to whoever deploys."""
    failed = _FAILED.match(str(error))
    return failed is not None and DENIED.search(failed["said"]) is not None


def failed_look_up(error: Exception) -> str | None:
    """The sentence; None for an error that is no failed look-up."""
    failed = _FAILED.match(str(error))
    if failed is None:
        return None
    asked, said = failed["asked"], " ".join(failed["said"].split())
    code = DENIED.search(said)
    if code is None:
        return f"AWS does not answer {asked}: {said[:_LONGEST]}"
    operation = _OPERATION.search(said)
    right = missing_right(said) or (
        f"{operation[1].lower()}:{operation[2]}" if operation else f"for {asked}"
    )
    return f"AWS refuses {asked} ({code.group()}): the right {right} is needed by whoever deploys"
