"""``init``: a stack file for a new cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from model.problems import Problem, SettingsError, UserError, did_you_mean, shown
from model.settings import checks
from model.settings.hosts import HostGpuProfile, Ipv4
from model.settings.sections import Name
from operate.stack.deployment import ROOT, Target, default_target
from operate.stack.new_stack_file import (
    NewOnAws,
    NewOnHosts,
    on_aws,
    on_hosts,
    refuse_existing,
    write_new,
)
from operate.stack.session import checked, mistakes_told
from operate.terminal.messages import say
from operate.terminal.words import stack_name
from preflight.credentials import region_problem

SITES = ("aws", "hosts")
SIZES = {"--gpus": "gpus", "--gpu-memory": "gpu_memory_gib", "--memory": "memory_gib"}
"""Option to what it says of a host's profile."""
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the options say; empty or None where they say nothing."""

    site: str
    region: str
    leader: str
    followers: list[str]
    gpus: int | None
    gpu_memory: int | None
    memory: int | None


def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The new stack: stacks/Pulumi.NAME.yaml.",
            callback=checked(lambda text: stack_name(text, "NAME")),
        ),
    ],
    site: Annotated[str, typer.Option(help="aws, or hosts for machines that exist already.")] = "",
    region: Annotated[str, typer.Option(help="AWS region such as us-east-1.")] = "",
    leader: Annotated[
        str,
        typer.Option(
            metavar="TYPE|ADDRESS", help="The leader's instance type, or on hosts its address."
        ),
    ] = "",
    follower: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]TYPE|ADDRESS", help="A follower; repeat the option for each."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="On hosts: number of GPUs in each host.")] = None,
    gpu_memory: Annotated[
        int | None, typer.Option(help="On hosts: memory of each GPU in GiB.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(help="On hosts: memory of each host in GiB.")
    ] = None,
) -> None:
    """Write a commented stack file for a new cluster; at a terminal it asks for what the options leave out."""
    given = Given(
        site=site,
        region=region,
        leader=leader,
        followers=follower or [],
        gpus=gpus,
        gpu_memory=gpu_memory,
        memory=memory,
    )
    path = ROOT / "stacks" / f"Pulumi.{name}.yaml"
    with mistakes_told():
        refuse_existing(path)
        if sys.stdin.isatty():
            given = asked(given)
        if found := tuple(problems(given)):
            raise SettingsError(found, "the command")
        text = text_of(name, given)
        write_new(path, text)
    say(f"written: stacks/{path.name}, which passes; what else may stand in it is in its comments")
    for line in next_steps(name, given.site):
        say(line)


def problems(given: Given) -> Iterator[Problem]:
    """Everything that the options lack or have wrong, at once."""
    if given.site not in SITES:
        needs = "aws needs --region too; hosts need --gpus, --gpu-memory and --memory"
        yield Problem(
            "--site", _got(given.site), "aws or hosts", did_you_mean(given.site, SITES) or needs
        )
        if not given.leader:
            yield Problem("--leader", _got(""), "an instance type, or on hosts an address")
        return
    on_aws_site = given.site == "aws"
    leader = _type if on_aws_site else _address
    if on_aws_site:
        yield from _problem("--region", given.region, _region)
    yield from _problem("--leader", given.leader, leader)
    for word in given.followers:
        yield from _problem("--follower", word, lambda each: _follower(each, given.site))
    names = [_split(each, place)[0] for place, each in enumerate(given.followers, start=1)]
    for twice in sorted({each for each in names if names.count(each) > 1}):
        yield Problem("--follower", f"{twice} twice", "each name once", "NAME=… names a follower")
    sizes = {"--gpus": given.gpus, "--gpu-memory": given.gpu_memory, "--memory": given.memory}
    others = {"--region": given.region} if not on_aws_site else sizes
    for option, value in others.items():
        if value not in ("", None):
            yield Problem(option, shown(value), f"nothing: it is for --site {SITES[on_aws_site]}")
    if not on_aws_site:
        for option, key in SIZES.items():
            number = sizes[option]
            yield from _problem(option, "" if number is None else str(number), _size(key))


def asked(given: Given) -> Given:
    """What the options say, and for the rest what somebody at the terminal answers; a wrong answer is asked again."""
    site = given.site or _prompt("Site: aws, or hosts for machines that exist", _site, "aws")
    if site not in SITES:
        return given  # which is told with everything else
    region, gpus, gpu_memory, memory = given.region, given.gpus, given.gpu_memory, given.memory
    kind, check = ("instance type", _type) if site == "aws" else ("address", _address)
    if site == "aws" and not region:
        region = _prompt("AWS region", _region, "us-east-1")
    like = "g4dn.2xlarge" if site == "aws" else None
    leader = given.leader or _prompt(f"Leader's {kind}", check, like)
    followers = given.followers or _prompt(
        f"Followers by comma, each {kind} or NAME={kind} (empty for none)",
        lambda text: _followers(text, site),
        "",
    )
    if site == "hosts":
        gpus = gpus or _prompt("GPUs of each host", _size("gpus"), "1")
        gpu_memory = gpu_memory or _prompt("GiB of each GPU", _size("gpu_memory_gib"), None)
        memory = memory or _prompt("GiB of memory of each host", _size("memory_gib"), None)
    return Given(
        site=site,
        region=region,
        leader=leader,
        followers=followers,
        gpus=gpus,
        gpu_memory=gpu_memory,
        memory=memory,
    )


def text_of(stack: str, given: Given) -> str:
    """The text of the stack file for options that are sound."""
    followers = dict(_split(each, place) for place, each in enumerate(given.followers, start=1))
    if given.site == "aws":
        return on_aws(
            stack, NewOnAws(region=given.region, leader=given.leader, followers=followers)
        )
    return on_hosts(
        stack,
        NewOnHosts(
            leader=given.leader,
            followers=followers,
            gpus=given.gpus or 0,
            gpu_memory_gib=given.gpu_memory or 0,
            memory_gib=given.memory or 0,
        ),
    )


def next_steps(stack: str, site: str) -> Iterator[str]:
    """What to type next, a line each."""
    if default_target(stack) is Target.SANDBOX:
        yield f"next: `./cluster up {stack}`, which goes to the sandbox by its name"
        return
    if site == "aws":
        yield f"cost:      `./cluster cost {stack}`"
        yield f"release:   `./cluster publish {stack} release.tar.gz`"
    else:
        yield f"host keys: `./cluster host-keys {stack}`"
    yield f"look:      `./cluster preview {stack}`"
    yield f"deploy:    `./cluster up {stack}`, or first in the sandbox with `--target sandbox`"


def _split(word: str, place: int) -> tuple[str, str]:
    """A follower's name and its type or address; one without a name is called by its place."""
    name, equals, value = word.partition("=")
    return (name.strip(), value.strip()) if equals else (f"follower-{place}", word.strip())


def _followers(text: str, site: str) -> list[str]:
    words = [each for each in re.split(r"[,\s]+", text) if each]
    for each in words:
        _follower(each, site)
    return words


def _follower(word: str, site: str) -> str:
    name, value = _split(word, 1)
    _is("a name of lower-case letters, digits and hyphens, before the =", name, Name)
    if name == "leader":
        raise UserError("allowed: another name than leader, which is the leader's")
    (_type if site == "aws" else _address)(value)
    return word


def _site(text: str) -> str:
    if text not in SITES:
        raise UserError(f"allowed: aws or hosts; {did_you_mean(text, SITES)}".rstrip("; "))
    return text


def _region(text: str) -> str:
    if problem := region_problem(text):
        raise UserError(f"allowed: {problem.allowed}; {problem.hint}")
    return text


def _type(text: str) -> str:
    try:
        return checks.catalogued(text)
    except PydanticCustomError as error:
        raise UserError(f"allowed: an EC2 type with NVIDIA GPUs; {error.message()}") from None


def _address(text: str) -> str:
    # A name needs its `privateAddress` besides, which stands in the file's comments.
    return _is('an IPv4 address such as "10.0.0.10"', text, Ipv4)


def _size(key: str) -> Callable[[str], int]:
    """What takes a number of a host's profile within the bounds of a stack file."""
    bounds = HostGpuProfile.model_fields[key].metadata
    least: Any = next(each.ge for each in bounds if isinstance(each, Ge))
    most: Any = next(each.le for each in bounds if isinstance(each, Le))

    def size(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise UserError(f"allowed: a whole number from {least} to {most}")
        return int(text)

    return size


def _got(value: str) -> str:
    return shown(value) if value else "nothing"


def _is(allowed: str, text: str, expected: Any) -> str:
    try:
        TypeAdapter(expected).validate_python(text)
    except ValidationError as error:
        said = error.errors()[0]
        hint = f"; {said['msg']}" if said["type"] == "refusal" and said["msg"] else ""
        raise UserError(f"allowed: {allowed}{hint}") from None
    return text


def _problem(option: str, value: str, check: Callable[[str], object]) -> Iterator[Problem]:
    """The problem of an option that is missing, or that a *check* refuses."""
    try:
        check(value)
    except UserError as error:
        allowed, _, hint = str(error).removeprefix("allowed: ").partition("; ")
        yield Problem(option, _got(value), allowed, hint if value else "")


def _prompt(question: str, check: Callable[[str], _Value], like: str | None) -> _Value:
    """What somebody answers, asked again until a *check* takes it."""

    def value(text: str) -> _Value:
        try:
            return check(text.strip())
        except UserError as error:
            raise typer.BadParameter(f"got {shown(text)}; {error}") from None

    answer: _Value = typer.prompt(question, default=like, value_proc=value, show_default=bool(like))
    return answer
