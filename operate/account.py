"""Whether there is such a region, and whether AWS knows the caller: asked before anything is planned or made."""

from difflib import get_close_matches

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

HOW_TO_SIGN_IN = (
    "run `aws sso login` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` shows whether it worked. "
    "Without an account, `make up` deploys to the sandbox"
)
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}


class AccountError(Exception):
    """AWS cannot be asked as the caller is set up; the message says what is missing and how to get it."""


def check_account(region: str) -> None:
    """Return when the region exists and AWS answers who the caller is.

    Raises :class:`AccountError` within about ten seconds otherwise. No secret is echoed.
    """
    known = boto3.session.Session().get_available_regions("ec2")
    if region not in known:
        near = get_close_matches(region, known, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise AccountError(f"aws:region: got {region!r}; {meant}Allowed: {', '.join(known)}")
    try:
        boto3.client(
            "sts",
            region_name=region,
            config=Config(connect_timeout=4, read_timeout=4, retries={"total_max_attempts": 2}),
        ).get_caller_identity()
    except (NoCredentialsError, PartialCredentialsError):
        raise AccountError(f"no AWS credentials were found: {HOW_TO_SIGN_IN}") from None
    except (SSOError, TokenRetrievalError):
        raise AccountError(f"the AWS sign-in has expired: {HOW_TO_SIGN_IN}") from None
    except ProfileNotFound as error:
        raise AccountError(f"{error}: {HOW_TO_SIGN_IN}") from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reason = "have expired" if code in EXPIRED else f"are refused by AWS ({code})"
        raise AccountError(f"the AWS credentials {reason}: {HOW_TO_SIGN_IN}") from None
    except BotoCoreError as error:
        raise AccountError(
            f"AWS did not answer in region {region} ({type(error).__name__}): "
            "check the spelling of aws:region, the network and the proxy settings"
        ) from None
