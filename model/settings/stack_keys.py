"""Keys of a stack file that are no settings: those of other namespaces, and those that lack one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from model.problems import (
    Problem,
    SettingsError,
    closest,
    did_you_mean,
    path_of,
    shown,
    without_overlap,
)
from model.settings.configuration import SECRET_ENV, SET_SECRET
from model.settings.read import AnySettings, keys_of_any_site, parse

PROJECT = "graphistry-cluster"
REGION = "aws:region"
MODELINE = "# yaml-language-server: $schema=../schemas/stack.schema.json"
"""The first line of a stack file in `stacks`, by which an editor finds the schema."""
NAMESPACES = (PROJECT, "aws", "pulumi")
"""Whose keys a stack file may have."""

PRIVATE_KEY = "sshPrivateKey"
"""The one setting that is a secret as a whole. Pulumi's own `secret: true` refuses an empty default."""

DELETE_DATA = "deleteData"
"""A key that is no setting: the name of a stack whose data may be deleted."""

_CREDENTIAL = re.compile(r"secret|access_?key|token|password", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_:.-]+")
REGION_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
_SIGN_IN = "AWS_PROFILE, AWS_ACCESS_KEY_ID and the like in the shell, or `aws sso login`"


def checked(
    config: Mapping[str, object], raw: Mapping[str, object], known: Iterable[Problem] = ()
) -> AnySettings:
    """The settings in *raw*, which the keys in *config* became.

    Raises `SettingsError` with every problem of keys and settings, each place once, those that are *known* first.
    """
    found = [*known]
    found += without_overlap((*key_problems(config), *in_plain(config)), found)
    try:
        settings = parse(raw)
    except SettingsError as error:
        raise SettingsError((*found, *without_overlap(error.problems, found))) from None
    if found:
        raise SettingsError(tuple(found))
    return settings


def is_setting(name: str) -> bool:
    """Whether the program reads a key of this name."""
    return name == DELETE_DATA or name in keys_of_any_site()


def as_settings(config: Mapping[str, object]) -> dict[str, object]:
    """The keys of the project without their namespace, and those that lack it or have it misspelt: Pulumi takes a key
    without a namespace for one of the project, and the rules that span several keys need both."""
    found = {}
    for key, value in config.items():
        namespace, colon, name = key.partition(":")
        if name == DELETE_DATA:
            continue
        if namespace == PROJECT and colon:
            found[name] = value
        elif not colon and is_setting(key):
            found[key] = value
        elif namespace not in NAMESPACES and closest(namespace, NAMESPACES) == PROJECT:
            found[name] = value
    return found


def key_problems(config: Mapping[str, object]) -> Iterator[Problem]:
    """What is wrong with the keys of a stack file beside its settings."""
    for key, value in config.items():
        namespace, colon, name = key.partition(":")
        if not colon:
            yield _without_namespace(key)
        elif namespace not in NAMESPACES:
            near = closest(namespace, NAMESPACES)
            hint = f"did you mean {near}:{place_of(name)}?" if near else ""
            yield Problem(
                place_of(key), "a key of a namespace that is not read here", _allowed(), hint
            )
        elif namespace == "aws" and key != REGION:
            yield _of_aws(key)
        elif key == f"{PROJECT}:{SECRET_ENV}":
            yield from _of_secret_env(value)
        elif namespace == PROJECT and name != PRIVATE_KEY and _has_secret(value):
            only = f"a value in plain, as {PRIVATE_KEY} and the variables of {SECRET_ENV} are the only secrets here"
            yield Problem(
                place_of(name),
                "an encrypted value",
                only,
                f"pulumi config set {place_of(name)} VALUE",
            )
    yield from _region(config)


def place_of(key: str) -> str:
    """A key at the top of a stack file as a place: bare where that is plain to read."""
    return key if _PLAIN_KEY.fullmatch(key) else shown(key)


def in_plain(config: Mapping[str, object]) -> Iterator[Problem]:
    """The private key, where it stands for everybody to read."""
    key = f"{PROJECT}:{PRIVATE_KEY}"
    if config.get(key) and not is_encrypted(config[key]):
        yield Problem(
            PRIVATE_KEY,
            "a private key for everybody to read, which is not shown here",
            "the same key, encrypted",
            f"take it out, and put it in by `pulumi config set --stack STACK --secret {PRIVATE_KEY} < FILE`; use "
            "another key if it was shared",
        )


def is_encrypted(value: object) -> bool:
    """Whether Pulumi has encrypted a value."""
    return isinstance(value, dict) and set(value) == {"secure"} and isinstance(value["secure"], str)


def _of_secret_env(value: object) -> Iterator[Problem]:
    """What of the secret variables is not encrypted, or only as a whole."""
    if is_encrypted(value):
        yield Problem(
            SECRET_ENV,
            "an encrypted value as a whole",
            "a map from the name of a variable to its encrypted text",
            f"take it out, and put in each variable by `{SET_SECRET}NAME`",
        )
    elif isinstance(value, dict):
        for name, text in value.items():
            if not is_encrypted(text):
                yield Problem(
                    path_of((SECRET_ENV, str(name))),
                    "a value for everybody to read, which is not shown here",
                    "the same, encrypted",
                    f"take it out, and put it in by `{SET_SECRET}{name}`; use another value if it was shared",
                )


def _allowed() -> str:
    return f"keys of {', '.join(NAMESPACES[:-1])} and {NAMESPACES[-1]}"


def _without_namespace(key: str) -> Problem:
    # Not the key alone, which would be the setting: what is wrong below it is shown too.
    place, got = f"the key {place_of(key)}", "a key without a namespace"
    if is_setting(key):
        return Problem(place, got, f"{PROJECT}:{key}", f"write `{PROJECT}:` in front of it")
    if key == "region":
        return Problem(place, got, REGION, "write `aws:` in front of it")
    return Problem(place, got, _allowed(), did_you_mean(key, (f"{PROJECT}:{key}", REGION)))


def _of_aws(key: str) -> Problem:
    if _CREDENTIAL.search(key):
        return Problem(
            place_of(key),
            "what sounds like a credential, and is not shown here",
            f"{REGION} alone; credentials never stand in a stack file, encrypted ones neither",
            f"take it out and use another one if it was shared; sign in by {_SIGN_IN}",
        )
    near = closest(key, (REGION,), likeness=0.8)
    hint = f"did you mean {near}?" if near else f"the account is that of your shell: {_SIGN_IN}"
    return Problem(place_of(key), "a key that nothing reads", f"{REGION} alone", hint)


def _region(config: Mapping[str, object]) -> Iterator[Problem]:
    value = config.get(REGION)
    allowed = 'a region of AWS such as "us-east-1"'
    if REGION not in config:
        if config.get(f"{PROJECT}:site") != "hosts":
            hint = "add one, such as `aws:region: us-east-1`"
            yield Problem(REGION, "nothing", allowed, hint)
    elif not (isinstance(value, str) and REGION_NAME.fullmatch(value)):
        yield Problem(REGION, shown(value), allowed)


def _has_secret(value: object) -> bool:
    """Whether anything in a value is encrypted."""
    if isinstance(value, dict):
        return is_encrypted(value) or any(map(_has_secret, value.values()))
    return isinstance(value, list) and any(map(_has_secret, value))
