"""What Pulumi says when it cannot begin, told again: what was found, and what to type next."""

from __future__ import annotations

import re

from model.settings.configuration import SET_SECRET

_LOGIN = (
    "choose where the state lives, once: a folder "
    "(`mkdir -p ~/pulumi-state && pulumi login file://$HOME/pulumi-state`), a bucket "
    "(`pulumi login s3://bucket`), or Pulumi's service (`pulumi login`)"
)
_WHERE = "`pulumi whoami --verbose` shows where; PULUMI_BACKEND_URL, where it is set, overrules `pulumi login`"
_ANEW = (
    "`pulumi config set --secret sshPrivateKey --stack {stack} < ~/.ssh/id_ed25519`, and of each variable "
    f"`{SET_SECRET.replace('STACK', '{stack}')}NAME`"
)
_EXPORT = "export PULUMI_CONFIG_PASSPHRASE=... (or PULUMI_CONFIG_PASSPHRASE_FILE=/path/to/it), then the same again"

_EXPLANATIONS = (
    (
        r"could not decrypt configuration value",
        "a `secure:` value of graphistry-cluster:sshPrivateKey or secretEnv in stacks/Pulumi.{stack}.yaml is not one "
        "of this stack: such a value opens with the encryptionsalt and the passphrase it was made with, and no others",
        f"put it in anew: {_ANEW}",
    ),
    (
        r"malformed state value|invalid encryption salt|illegal base64",
        "the `encryptionsalt` in stacks/Pulumi.{stack}.yaml is not as Pulumi wrote it",
        "put the line back as it was (`git log -p stacks/Pulumi.{stack}.yaml`): without it nobody reads the secrets "
        "of this stack. In a file for a new stack, delete the line, and the `secure:` values with it; then "
        f"{_ANEW}",
    ),
    (
        r"unable to read PULUMI_CONFIG_PASSPHRASE_FILE",
        "the file that PULUMI_CONFIG_PASSPHRASE_FILE names cannot be read, and it has the passphrase of the stack "
        "{stack}",
        f"name the right file, or unset it and type: {_EXPORT}",
    ),
    (
        r"secrets\.Keeper|unknown secrets provider",
        "the `secretsprovider` in stacks/Pulumi.{stack}.yaml cannot be used",
        "it is `passphrase`, or the address of a key such as awskms://alias/NAME?region=us-east-1, for which this "
        "shell needs permission",
    ),
    (
        r"passphrase must be set",
        "the secrets of the stack {stack} are encrypted by a passphrase, and this shell has none",
        f"{_EXPORT}. For a new stack choose one, and keep it: every later command wants it",
    ),
    (
        r"incorrect passphrase",
        "the passphrase in this shell is not the one of the stack {stack}",
        f"{_EXPORT}. It is the one of the stack's first deployment; nobody can recover it. The `encryptionsalt` of "
        "stacks/Pulumi.{stack}.yaml belongs to it, and one of another stack does not fit",
    ),
    (
        r"PULUMI_ACCESS_TOKEN must be set|requires logging in",
        "Pulumi is not logged in, so that the state of the stack {stack} has no place",
        f"{_LOGIN}. {_WHERE}",
    ),
    (
        r"Unauthorized|invalid access token|\[40[13]\]",
        "Pulumi's service does not take the login of this computer",
        f"`pulumi login` signs in anew; a PULUMI_ACCESS_TOKEN in this shell must be a valid one. {_WHERE}",
    ),
    (
        r"unable to open state directory .*: no such file",
        "the folder with the state does not exist",
        f"`mkdir -p` it, or mount the disk that has it; for another place: {_LOGIN}. {_WHERE}",
    ),
    (
        r"permission denied|PermissionDenied|AccessDenied|Forbidden",
        "the place of the state is there, and refuses this user",
        f"sign in to its cloud as somebody who may read and write it, or ask for the right. {_WHERE}",
    ),
    (
        r"\bblob\b|credentials|NoSuchBucket|unable to open bucket",
        "the bucket with the state cannot be read",
        "sign in to its cloud (for s3://, `aws sso login`, AWS_PROFILE and AWS_REGION), and see that it exists. "
        + _WHERE,
    ),
    (
        r"no such host|connection refused|dial tcp|timeout",
        "the place of the state is not reached from here",
        f"look at the network, VPN and proxy of this computer. {_WHERE}",
    ),
)
"""Pattern in Pulumi's words, what it means, what to do; the first that fits counts."""

BEGINNING = 'for `pulumi` itself: eval "$(./cluster environment {stack})"'
"""What puts Pulumi on the PATH of a shell."""


def explained(said: str, stack: str) -> str | None:
    """What Pulumi's error output means for *stack*, with its own last line; None for what it says well enough."""
    lines = [line.strip() for line in said.splitlines() if "error:" in line] or [said.strip()]
    for pattern, found, cure in _EXPLANATIONS:
        if any(re.search(pattern, line) for line in lines):
            told = f"{found.format(stack=stack)}\n  hint: {cure.format(stack=stack)}"
            if "`pulumi" in cure:
                told += f"\n  {BEGINNING.format(stack=stack)}"
            return f"{told}\n  Pulumi said: {lines[-1].removeprefix('error: ')}"
    return None
