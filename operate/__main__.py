"""The operator's command line, ``python -m operate``; ``make`` calls it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Annotated, Any

import typer
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.settings import Network, SettingsError
from model.tags import CLUSTER_TAG
from operate.account import AccountError, check_account
from operate.deployment import (
    SANDBOX_DIRECTORY,
    Deployment,
    Target,
    default_target,
    open_deployment,
)
from operate.engine import EngineError
from operate.messages import UserError, console, say
from operate.nodes import Node, kept_table, node_table, nodes
from operate.prove import Nodes, Proof, proofs
from operate.recover import clear_dead_run, recover, refuse_while_busy
from sandbox.lifecycle import find, stop

WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Stack = Annotated[str, typer.Option(help="The stack: stacks/Pulumi.<stack>.yaml.")]
Where = Annotated[
    Target | None,
    typer.Option(
        help="Where to; without it the stack 'sandbox' goes to the sandbox, others to AWS."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for machines.")]


@app.command()
def up(stack: Stack = "sandbox", target: Where = None, yes: Yes = False) -> None:
    """Deploy a stack and show its nodes. On AWS Pulumi shows the plan and asks first."""
    with deployment(stack, target) as opened:
        prepare(opened)
        # A node that fails must not keep the others from getting ready.
        options = ["--refresh", "--suppress-outputs", "--continue-on-error"]
        status = opened.run("up", *options, *opened.configured(), *consent(opened, yes=yes))
        outputs = opened.outputs()
        if "leader" in outputs:
            show_nodes(nodes(opened, outputs), as_json=False)
        if status:
            say(
                f"what failed is told above; when it is mended, `make up{opened.choice}` goes on from here"
            )
            raise typer.Exit(status)
        next_steps(opened, outputs)


@app.command()
def preview(stack: Stack = "sandbox", target: Where = None) -> None:
    """Show what a deployment would change, compared with what AWS has now."""
    with deployment(stack, target) as opened:
        prepare(opened)
        raise typer.Exit(opened.run("preview", "--refresh", "--diff", *opened.configured()))


@app.command()
def down(stack: Stack = "sandbox", target: Where = None, yes: Yes = False) -> None:
    """Destroy the machines of a stack and keep its data. The sandbox is stopped, and forgets."""
    if not sandbox_runs(stack, target):
        say("the sandbox is not running, and its AWS is gone with it; there is nothing to end")
        return
    with deployment(stack, target) as opened:
        if opened.exists():
            take_down(opened, yes=yes)
        else:
            say(f"the stack {stack} was never deployed")
        if opened.sandbox is not None:
            stop_unused_sandbox(opened)


@app.command()
def purge(
    name: Annotated[
        str, typer.Option(help="The stack's name once more: its data is deleted.")
    ] = "",
    stack: Stack = "sandbox",
    target: Where = None,
) -> None:
    """Destroy a stack and DELETE ITS DATA. Asks for the stack's name."""
    with deployment(stack, target) as opened:
        if not opened.exists():
            raise UserError(f"the stack {stack} was never deployed; there is nothing to delete")
        take_over(opened)
        show_kept(opened)
        if not name and sys.stdin.isatty():
            name = typer.prompt(f"All of this is deleted for good. Type the stack's name ({stack})")
        if name != stack:
            raise UserError(
                f"got {name!r} as the name of what to delete; allowed is {stack!r}: "
                f"make purge{opened.choice} NAME={stack}. Nothing was deleted"
            )
        lift_protection(opened)
        run(opened, "destroy", *consent(opened, yes=True))
        opened.read("stack", "rm", "--yes", "--preserve-config", *opened.named())
        say("deleted; Secrets Manager can restore the secret for 30 days")


@app.command()
def show(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show the nodes of a deployed stack."""
    with deployment(stack, target, start=False, changes=False) as opened:
        show_nodes(nodes(opened, deployed_outputs(opened)), as_json=as_json)


@app.command()
def prove(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Try the cluster's promises on its running nodes; exit status 1 when one is broken."""
    with deployment(stack, target, start=False, changes=False) as opened:
        found = provable(opened)
        seen: list[Proof] = []
        for proof in proofs(found):
            seen.append(proof)
            if not as_json:
                kept = "[green]kept  [/]" if proof.kept else "[bold red]BROKEN[/]"
                line = f"{kept} {proof.promise:48} {proof.node:12} {escape(proof.seen)}"
                Console(emoji=False, highlight=False).print(line, soft_wrap=True)
        if as_json:
            print(json.dumps([dataclasses.asdict(proof) for proof in seen], indent=2))
        broken = [proof for proof in seen if not proof.kept]
        say(f"{len(seen) - len(broken)} of {len(seen)} proofs succeeded")
        if broken:
            raise typer.Exit(1)


@app.command()
def shell(
    node: Annotated[str, typer.Option(help="The node: leader, or the name of a follower.")],
    stack: Stack = "sandbox",
    target: Where = None,
) -> None:
    """Open a root shell on a node: through Session Manager, or on the sandbox's machine."""
    with deployment(stack, target, start=False, changes=False) as opened:
        found = {each.name: each.machine for each in nodes(opened, deployed_outputs(opened))}
        if node not in found:
            raise UserError(f"NODE: got {node!r}; allowed: {', '.join(found)}")
        machine = found[node]
        if machine is None:
            raise UserError(f"{node} has no machine; `make show{opened.choice}` says more")
        command = shell_command(opened, machine.instance_id)
        if shutil.which(command[0]) is None:
            raise UserError(
                f"{command[0]} is not installed; with it, `{shlex.join(command)}` opens the shell"
            )
    os.execvp(command[0], command)  # noqa: S606 a list of words, and no shell is wanted


@app.command()
def environment(stack: Stack = "sandbox", target: Where = None) -> None:
    """Print the environment in which plain `pulumi` works on a stack, for a shell's `eval`."""
    with deployment(stack, target, changes=False) as opened:
        names = {"PATH", "PULUMI_SKIP_UPDATE_CHECK"}
        if opened.sandbox is not None:
            names |= {*opened.sandbox.environment(), "PULUMI_HOME", "PULUMI_BACKEND_URL"}
            names |= {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"}
        for name in sorted(names):
            print(f"export {name}={shlex.quote(opened.environment[name])}")


@contextmanager
def deployment(
    stack: str, target: Target | None, *, start: bool = True, changes: bool = True
) -> Iterator[Deployment]:
    """An open deployment; a mistake of the user's ends the command with a message and status 1.

    Without *start* a sandbox that does not run is such a mistake; with *changes* so is another Pulumi at work.
    """
    try:
        if not start and not sandbox_runs(stack, target):
            raise UserError(
                "the sandbox is not running, so nothing is deployed to it; `make up` does"
            )
        opened = open_deployment(stack, target)
        clear_dead_run(opened)
        if changes:
            refuse_while_busy(opened)
        yield opened
    except (UserError, EngineError, AccountError, SettingsError) as error:
        console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (BotoCoreError, ClientError) as error:
        console.print("[bold red]error:[/] AWS answered:", escape(str(error)), soft_wrap=True)
        raise typer.Exit(1) from None


def sandbox_runs(stack: str, target: Target | None) -> bool:
    """Whether what a command is about can be there: AWS always is, the sandbox while it runs."""
    return (target or default_target(stack)) is Target.AWS or find(SANDBOX_DIRECTORY) is not None


def consent(opened: Deployment, *, yes: bool) -> list[str]:
    """The options that keep Pulumi from asking, where nothing is at stake or somebody has said yes."""
    return ["--yes", "--skip-preview"] if opened.sandbox or yes else []


def run(opened: Deployment, *arguments: str) -> None:
    """Run a Pulumi command on the stack and its file; end with Pulumi's status if it fails."""
    status = opened.run(*arguments, *opened.configured())
    if status:
        raise typer.Exit(status)


def take_over(opened: Deployment) -> None:
    """Make sure that it is this cluster, and take up what an interrupted run left of it."""
    refuse_another_region(opened)
    recover(opened)


def take_down(opened: Deployment, *, yes: bool) -> None:
    """Destroy what is not kept, and show what is."""
    take_over(opened)
    # What somebody else has destroyed already is no reason to fail.
    run(opened, "destroy", "--exclude-protected", "--refresh", *consent(opened, yes=yes))
    show_kept(opened)
    if opened.sandbox is None:
        say(
            f"`make up{opened.choice}` takes the data up again; `make purge{opened.choice}` deletes it"
        )


def show_kept(opened: Deployment) -> None:
    """Print what outlives the machines."""
    kept = opened.outputs().get("keptData", {})
    if kept:
        print_table(kept_table(kept), stderr=True)
        say("kept, with the policies, backups and settings that guard them")


def stop_unused_sandbox(opened: Deployment) -> None:
    """Stop the sandbox unless another stack lives in it; its AWS is in memory and gone with it."""
    stacks = json.loads(opened.read("stack", "ls", "--json"))
    others = [
        each["name"]
        for each in stacks
        if each["name"] != opened.stack and each.get("resourceCount", 0) > 1
    ]
    if others:
        say(f"the sandbox goes on for the stack {', '.join(others)}")
    elif stop(SANDBOX_DIRECTORY):
        say("sandbox stopped; what a real account would have kept is gone with it")


def prepare(opened: Deployment) -> None:
    """Create the stack if it is new; take over what an interrupted run left; say if the sandbox was restarted."""
    if opened.sandbox is None:
        check_account(opened.region)
    elif opened.sandbox.machines:
        refuse_a_shared_block(opened)
    if not opened.exists():
        opened.create()
        return
    take_over(opened)
    outputs = opened.outputs()
    if (
        opened.sandbox is not None
        and "leader" in outputs
        and not sandbox_knows(opened, outputs["bucket"])
    ):
        say(
            "the sandbox was restarted since the last deployment, and its AWS is empty: "
            "what the state lists is made anew"
        )


def refuse_a_shared_block(opened: Deployment) -> None:
    """Raise :class:`UserError` when another cluster of this sandbox has the same IPv4 block.

    AWS keeps VPCs of one block apart; the Docker of a sandbox cannot, and the second one's machines would not boot.
    """
    network = opened.config.get("graphistry-cluster:network", {})
    block = IPv4Network(network.get("cidrBlock", Network().cidr_block))
    for vpc in opened.client("ec2").describe_vpcs()["Vpcs"]:
        tags = {tag["Key"]: tag["Value"] for tag in vpc.get("Tags", [])}
        other = tags.get(CLUSTER_TAG, opened.cluster)
        if other != opened.cluster and block.overlaps(IPv4Network(vpc["CidrBlock"])):
            stack = other.rpartition("/")[2]
            raise UserError(
                f"network.cidrBlock: got {block}, and the machines of the stack {stack} in this sandbox have it too. "
                f"End that stack first (`make down` with its STACK), give one of them another block, or record "
                "machines only: `make down`, then SANDBOX_MACHINES=off"
            )


def refuse_another_region(opened: Deployment) -> None:
    """Raise :class:`UserError` when the stack file names another region than the one the cluster is in.

    A refresh would look for everything there, find nothing, and forget the cluster.
    """
    providers = [
        each
        for each in opened.checkpoint().get("resources", [])
        if each["type"] == "pulumi:providers:aws"
    ]
    for provider in providers:
        region = provider["inputs"]["region"]
        if region != opened.region:
            raise UserError(
                f"aws:region: got {opened.region!r}, but this cluster is in {region!r}, and a cluster does not "
                f"move. Put {region!r} back, or copy the stack file under another name for another cluster"
            )


def sandbox_knows(opened: Deployment, bucket: str) -> bool:
    """Whether the sandbox's AWS still has what the state says."""
    buckets = opened.client("s3").list_buckets()["Buckets"]
    return any(each["Name"] == bucket for each in buckets)


def lift_protection(opened: Deployment) -> None:
    """Update what is protected, and only that, with the stack's name under ``deleteData``."""
    content = yaml.safe_load(opened.config_file.read_text())
    content["config"]["graphistry-cluster:deleteData"] = opened.stack
    lifted = opened.config_file.with_suffix(".purge.yaml")
    lifted.write_text(yaml.safe_dump(content))
    protected = [
        each["urn"] for each in opened.checkpoint()["resources"] if each.get("protect", False)
    ]
    try:
        status = opened.run(
            "up",
            "--yes",
            "--skip-preview",
            "--suppress-outputs",
            *(f"--target={urn}" for urn in protected),
            *opened.named(),
            "--config-file",
            str(lifted),
        )
    finally:
        lifted.unlink()
    if status:
        raise typer.Exit(status)


def deployed_outputs(opened: Deployment) -> dict[str, Any]:
    """The stack's outputs. Raises :class:`UserError` when it is not deployed."""
    outputs = opened.outputs() if opened.exists() else {}
    if "leader" not in outputs:
        raise UserError(
            f"the stack {opened.stack} is not deployed; `make up{opened.choice}` deploys it"
        )
    return outputs


def shell_command(opened: Deployment, instance: str) -> list[str]:
    """What opens a shell on a machine."""
    if opened.sandbox is None:
        return ["aws", "ssm", "start-session", "--region", opened.region, "--target", instance]
    if not opened.sandbox.docker_host:
        raise UserError("this sandbox records machines and boots none, so there is no shell")
    return ["docker", "-H", opened.sandbox.docker_host, "exec", "-it", instance, "bash", "-l"]


def provable(opened: Deployment) -> Nodes:
    """The nodes to prove. Raises :class:`UserError` unless every one of them is ready."""
    outputs = deployed_outputs(opened)
    found = nodes(opened, outputs)
    unready = [f"{node.name} is {node.state}" for node in found if node.state != "ready"]
    if unready:
        raise UserError(
            f"only a cluster of ready nodes can be proven: {'; '.join(unready)}. `make up{opened.choice}` waits "
            "for them and says why not"
        )
    machines = {node.name: node.machine for node in found if node.machine}
    return Nodes(
        instances={name: machine.instance_id for name, machine in machines.items()},
        addresses={name: machine.address for name, machine in machines.items()},
        client=opened.client,
        bucket=outputs["bucket"],
    )


def show_nodes(found: list[Node], *, as_json: bool) -> None:
    """Print the nodes: a table for a person, JSON for a script."""
    if as_json:
        print(json.dumps([dataclasses.asdict(node) for node in found], indent=2))
    else:
        print_table(node_table(found))


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print a table. Ids in it are there to be copied, so it is not folded for want of a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    Console(stderr=stderr, emoji=False, width=None if stream.isatty() else WIDTH).print(table)


def next_steps(opened: Deployment, outputs: Mapping[str, Any]) -> None:
    """What an operator does next."""
    choice = opened.choice
    if opened.sandbox is not None:
        say(f"its AWS answers at {opened.sandbox.aws_endpoint}")
        if opened.sandbox.machines:
            say(f"prove it:  `make prove{choice}`")
        else:
            say("not booted: this sandbox records machines and boots none (docs/sandbox.md)")
    else:
        leader = outputs["leader"]
        say(f"web page:  {leader['portForward']}, then http://localhost:8080")
        say(f"shell:     {leader['shell']}")
    say(
        f"change it: edit stacks/Pulumi.{opened.stack}.yaml, `make preview{choice}`, `make up{choice}`"
    )
    say(f"end it:    `make down{choice}`" + ("" if opened.sandbox else ", which keeps the data"))


if __name__ == "__main__":
    app()
