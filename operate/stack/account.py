"""Whether the AWS that a command reaches is the one that the cluster is in."""

from __future__ import annotations

from botocore.exceptions import EndpointConnectionError

from model.problems import UserError
from model.recorded import Recorded, arn_parts, in_words, recorded, refusal, sign_in
from model.settings.hosts import FollowersOnHosts
from operate.stack.deployment import Deployment
from preflight.situation import UNANSWERED
from sandbox.account import ACCOUNT as SANDBOX


def refuse_another_account(opened: Deployment, *, changes: bool = True) -> None:
    """Raise :class:`UserError` where the state has resources of another account or partition than the caller's.

    Does nothing on hosts, and asks nothing of AWS before the first deployment. A command that *changes* nothing goes on
    without an answer of Pulumi or AWS: `./cluster cost` needs neither.
    """
    if isinstance(opened.settings, FollowersOnHosts) or not _is_deployed(opened, changes=changes):
        return
    known = recorded(opened.checkpoint().get("resources", []))
    if not known.accounts and not known.partitions:
        return
    try:
        caller = str(opened.client("sts").get_caller_identity()["Arn"])
    except UNANSWERED as error:
        if not changes:
            return
        from preflight.credentials import HOW_TO_SIGN_IN, REACH  # every check comes with it

        hint = REACH if isinstance(error, EndpointConnectionError) else HOW_TO_SIGN_IN
        raise UserError(
            f"the stack {opened.stack} is in {in_words(known.accounts)}, and AWS does not say which account this shell "
            f"works in: {error}. Nothing was changed\n  hint: {hint}"
        ) from None
    if reason := refusal(known, caller):
        raise UserError(
            f"the stack {opened.stack}: {reason}\n  hint: {_hint(opened, known, caller)}"
        )


def _is_deployed(opened: Deployment, *, changes: bool) -> bool:
    try:
        return opened.exists()
    except UserError:
        if changes:
            raise
        return False  # nobody has signed in to Pulumi: no state is read


def _hint(opened: Deployment, known: Recorded, caller: str) -> str:
    if opened.sandbox is not None:
        return (
            f"this is the state of a real cluster, and `--target sandbox` reaches the sandbox alone: `./cluster status "
            f"{opened.stack} --target aws` is for the cluster. To rehearse, remove the copy of its state: "
            f".sandbox/state/.pulumi/stacks/graphistry-cluster/{opened.stack}.json"
        )
    if SANDBOX in known.accounts:
        return f"{SANDBOX} is the account of every sandbox: a rehearsal's state is used with `--target sandbox`"
    if (arn_parts(caller) or ("", ""))[1] == SANDBOX:
        return f"{SANDBOX} is the account of every sandbox: unset AWS_ENDPOINT_URL, or open a new shell"
    return sign_in(known)
