"""The checks ``credentials`` and ``clock``: whether AWS answers this caller at all, asked before everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher, get_close_matches
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from botocore.regions import EndpointResolver

from model.problems import Problem
from model.settings.named_zones import named_zones
from preflight.situation import Situation, UnansweredError

HOW_TO_SIGN_IN = (
    "run `aws sso login` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` shows whether it worked. "
    "Without an account, `./cluster up sandbox` deploys to the sandbox"
)
REACH = "check the spelling of aws:region, the network and the proxy settings"
EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
REFUSED_SIGNATURE = {
    "InvalidSignatureException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
"""What AWS answers to a request that was signed by a wrong clock, and to a wrong secret key."""

TOLERATED = timedelta(minutes=5)
"""How far the clock of a signature may be from AWS's (AWS: Signature Version 4)."""


def credentials(situation: Situation) -> tuple[Problem, ...]:
    """Whether the region exists and AWS answers who the caller is, in one call. No secret is echoed."""
    if unknown := unknown_region(situation):
        return (unknown,)
    try:
        situation.client("sts").get_caller_identity()
    except (NoCredentialsError, PartialCredentialsError):
        return _refused("no AWS credentials were found")
    except (SSOError, TokenRetrievalError):
        return _refused("the AWS sign-in has expired")
    except (ConfigNotFound, ConfigParseError, ProfileNotFound, UnicodeError) as error:
        return _refused(str(error))
    except (ResponseParserError, ValueError) as error:
        return (_not_aws(error),)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED_SIGNATURE and abs(_behind(error.response)) > TOLERATED:
            raise UnansweredError(
                "AWS refuses whatever is signed by a wrong clock; see the check clock"
            ) from None
        reason = "have expired" if code in EXPIRED else f"are refused by AWS ({code})"
        return _refused(f"the AWS credentials {reason}")
    except BotoCoreError as error:
        return (
            Problem(
                "aws:region",
                f"no answer of AWS in {situation.region} ({type(error).__name__})",
                "a region that this computer reaches",
                REACH,
            ),
        )
    return ()


def unknown_region(situation: Situation) -> Problem | None:
    """What is wrong with the region of a stack; see `region_problem`."""
    zones = [zone for _, zone in named_zones(situation.settings)]
    return region_problem(situation.region, zones)


def region_problem(region: str, zones: Sequence[str] = ()) -> Problem | None:
    """What is wrong with a region that botocore does not know; AWS is not asked, and no profile is read.

    The region that the stack's own *zones* are in is meant, or else those that are spelt most alike.
    """
    known = EndpointResolver(create_loader().load_data("endpoints")).get_available_endpoints("ec2")
    if region in known:
        return None
    likely = [each for each in known if any(zone.startswith(each) for zone in zones)]
    near = likely or _spelt_alike(region, known)
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return Problem(
        "aws:region",
        repr(region),
        "a region of AWS such as us-east-1 or eu-central-1",
        f"{meant}`aws ec2 describe-regions --output table` lists those of your account",
    )


def _not_aws(error: Exception) -> Problem:
    """A proxy's page in place of an answer, or an address that is none."""
    what = "no answer of AWS's" if isinstance(error, ResponseParserError) else str(error)
    return Problem(
        "AWS",
        f"{what}, from where this shell sends its requests",
        "AWS's own answers",
        "look at HTTPS_PROXY, AWS_ENDPOINT_URL and endpoint_url in ~/.aws/config, and at a sign-in page of the network",
    )


def _spelt_alike(got: str, known: Sequence[str]) -> list[str]:
    """Regions with the same letters in another order, or else the nearest, two if they are equally near."""
    swapped = [each for each in known if sorted(each) == sorted(got)]
    if swapped:
        return swapped
    near = get_close_matches(got, known, n=2)
    likeness = [SequenceMatcher(None, each, got).ratio() for each in near]
    return sorted(near if len(set(likeness)) == 1 else near[:1])


def _refused(got: str) -> tuple[Problem, ...]:
    return (Problem("credentials", got, "credentials that AWS takes", HOW_TO_SIGN_IN),)


def clock(situation: Situation) -> tuple[Problem, ...]:
    """Whether this computer's clock is near AWS's, by the date of one answer, which a refusal has too."""
    try:
        answer = situation.client("sts").get_caller_identity()
    except ClientError as error:
        answer = error.response
    except (ResponseParserError, ValueError):
        raise UnansweredError("what answered is not AWS; see the check credentials") from None
    behind = _behind(answer)
    if abs(behind) <= TOLERATED:
        return ()
    minutes = round(abs(behind).total_seconds() / 60)
    which = "behind" if behind > timedelta() else "ahead of"
    return (
        Problem(
            "the clock of this computer",
            f"{minutes} minutes {which} AWS's",
            "at most 5 minutes: AWS refuses what is signed by another clock (RequestExpired, SignatureDoesNotMatch)",
            "sudo timedatectl set-ntp true; in WSL: sudo hwclock -s; `date -u` shows it",
        ),
    )


def _behind(answer: Mapping[str, Any]) -> timedelta:
    """How far this computer's clock is behind AWS's, as an answer dates itself; nothing where it does not."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if date is None:
        return timedelta()
    return parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)
