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
from typing import Annotated, Any, NoReturn

import typer
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.hosts import FollowersOnHosts
from model.settings import Settings, SettingsError
from model.tags import CLUSTER_TAG
from operate.account import AccountError, check_account
from operate.deployment import (
    ROOT,
    SANDBOX_DIRECTORY,
    Deployment,
    Target,
    default_target,
    open_deployment,
)
from operate.engine import EngineError
from operate.host_keys import COMPARE, collect, key_table, write
from operate.host_preflight import preflight, trouble_table
from operate.hosts import Hosts, hosts_of
from operate.hosts_nodes import nodes_on_hosts
from operate.joined import joined_stacks, joined_stacks_on_hosts
from operate.messages import UserError, console, say
from operate.nodes import Node, entries, kept_table, node_table, nodes
from operate.provable import nodes_to_prove, nodes_to_prove_on_hosts
from operate.prove import Nodes, Proof, proofs
from operate.recover import clear_dead_run, recover, refuse_while_busy
from operate.sandbox_hosts import pin, pinned
from sandbox import workbench
from sandbox.lifecycle import find, stop
from sandbox.machines.hosts import container

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
        with hosts_in(opened) as hosts:
            if hosts is not None:
                check_hosts(opened, hosts)
            status = opened.run("up", *options, *opened.configured(), *consent(opened, yes=yes))
            outputs = opened.outputs()
            found = present_nodes(opened, outputs, hosts) if "followers" in outputs else []
        if found:
            show_nodes(found, as_json=False)
        if status:
            say(
                f"what failed is told above; when it is mended, `make up{opened.choice}` goes on from here"
            )
            raise typer.Exit(status)
        if hosts is not None and any(node.state != "ready" for node in found):
            say(f"not every node is ready; `make up{opened.choice}` goes on from here")
            raise typer.Exit(1)
        next_steps(opened, outputs)


@app.command()
def preview(stack: Stack = "sandbox", target: Where = None) -> None:
    """Show what a deployment would change, compared with what AWS has now."""
    with deployment(stack, target) as opened:
        prepare(opened)
        with hosts_in(opened) as hosts:
            if hosts is not None:
                check_hosts(opened, hosts)
        raise typer.Exit(opened.run("preview", "--refresh", "--diff", *opened.configured()))


@app.command()
def down(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    abandon: Annotated[
        str, typer.Option(help="Stacks of followers, by comma, that may lose their leader.")
    ] = "",
) -> None:
    """Destroy the machines of a stack and keep its data. The sandbox is stopped, and forgets."""
    if bench := workbench_of(stack, target, start=False):
        status = bench.run(sys.argv[1:])
        bench.close(say)
        raise typer.Exit(status)
    if not sandbox_runs(stack, target):
        say("the sandbox is not running, and its AWS is gone with it; there is nothing to end")
        return
    with deployment(stack, target) as opened:
        if opened.exists():
            refuse_to_abandon(opened, {each for each in abandon.split(",") if each})
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
        if isinstance(opened.settings, FollowersOnHosts):
            show_kept(opened.outputs().get("keptData", {}))
            raise UserError(
                f"nothing is deleted on hosts. `make down{opened.choice}` makes them plain hosts again; then delete "
                "these places by hand, as root"
            )
        refuse_to_abandon(opened, set())
        take_over(opened)
        show_kept(opened.outputs().get("keptData", {}))
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
        outputs = deployed_outputs(opened)
        with hosts_in(opened) as hosts:
            found = present_nodes(opened, outputs, hosts)
        show_nodes(found, as_json=as_json)


@app.command()
def prove(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Try the cluster's promises on its running nodes; exit status 1 when one is broken."""
    with deployment(stack, target, start=False, changes=False) as opened:
        outputs = deployed_outputs(opened)
        seen: list[Proof] = []
        with hosts_in(opened) as hosts:
            for proof in proofs(provable(opened, outputs, hosts)):
                seen.append(proof)
                if as_json:
                    continue
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
        outputs = deployed_outputs(opened)
        if node not in entries(outputs):
            raise UserError(f"NODE: got {node!r}; allowed: {', '.join(entries(outputs))}")
        command = shell_command(opened, node, outputs)
        if shutil.which(command[0]) is None:
            raise UserError(
                f"{command[0]} is not installed; with it, `{shlex.join(command)}` opens the shell"
            )
    os.execvp(command[0], command)  # noqa: S606 a list of words, and no shell is wanted


@app.command(name="host-keys")
def host_keys(
    stack: Stack = "sandbox",
    target: Where = None,
    node: Annotated[str, typer.Option(help="One node, or all.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Accept what is new; for machines.")] = False,
) -> None:
    """Collect the host keys of a stack on hosts, show their fingerprints, write the accepted ones into its file."""
    rehearsal = (target or default_target(stack)) is Target.SANDBOX
    folder = SANDBOX_DIRECTORY / "stacks" if rehearsal else ROOT / "stacks"
    stack_file = folder / f"Pulumi.{stack}.yaml"
    try:
        found = collect(stack_file, node or None)
    except UserError as error:
        fail(error)
    print_table(key_table(found))
    changed = [each for each in found if each.state == "CHANGED"]
    new = [each for each in found if each.state == "new"]
    if new or changed:
        say(f"compare each fingerprint with what its host itself prints: {COMPARE}")
    if changed and yes:
        say("a changed key is never accepted by --yes: somebody may be between you and the host")
    accepted = [each for each in new if yes]
    if not yes and sys.stdin.isatty():
        accepted = [each for each in new + changed if typer.confirm(f"Accept {each.place}?")]
    if accepted and rehearsal:
        taken = {each.place.removeprefix("followers."): each.key for each in accepted}
        pin(SANDBOX_DIRECTORY, stack, {**pinned(SANDBOX_DIRECTORY, stack), **taken})
    elif accepted:
        write(stack_file, accepted)
    if accepted:
        say(f"{len(accepted)} keys are taken")
    if len(accepted) < len(new + changed) or any(each.problem for each in found):
        raise typer.Exit(1)


@app.command()
def environment(stack: Stack = "sandbox", target: Where = None) -> None:
    """Print the environment in which plain `pulumi` works on a stack, for a shell's `eval`."""
    with deployment(stack, target, changes=False, here=True) as opened:
        names = {"PATH", "PULUMI_SKIP_UPDATE_CHECK"}
        if opened.sandbox is not None:
            names |= {*opened.sandbox.environment(), "PULUMI_HOME", "PULUMI_BACKEND_URL"}
            names |= {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"}
        for name in sorted(names):
            print(f"export {name}={shlex.quote(opened.environment[name])}")


@contextmanager
def deployment(
    stack: str,
    target: Target | None,
    *,
    start: bool = True,
    changes: bool = True,
    here: bool = False,
) -> Iterator[Deployment]:
    """An open deployment; a mistake of the user's ends the command with a message and status 1.

    Without *start* a sandbox that does not run is such a mistake; with *changes* so is another Pulumi at work. Where
    machines boot in a workbench only, the command runs there and ends here, and with *here* that is a mistake too.
    """
    try:
        if bench := workbench_of(stack, target, start=start):
            if here:
                raise UserError(
                    f"the sandbox is in the container {bench.name} of your Docker, and this shell is not: "
                    f"docker exec -it -w {ROOT} {bench.name} bash"
                )
            raise typer.Exit(bench.run(sys.argv[1:]))
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
        fail(error)
    except (BotoCoreError, ClientError) as error:
        console.print("[bold red]error:[/] AWS answered:", escape(str(error)), soft_wrap=True)
        raise typer.Exit(1) from None


def fail(error: Exception) -> NoReturn:
    """End with what a person can mend."""
    console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    raise typer.Exit(1) from None


def workbench_of(stack: str, target: Target | None, *, start: bool) -> workbench.Workbench | None:
    """Where machines boot if not here, with *start* started if need be; None for AWS, and while a sandbox runs here."""
    if (target or default_target(stack)) is Target.AWS or find(SANDBOX_DIRECTORY) is not None:
        return None
    return workbench.start(ROOT, say) if start else workbench.find(ROOT)


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
    kept = opened.outputs().get("keptData", {})
    # What somebody else has destroyed already is no reason to fail. A host is asked when it is removed.
    refresh = [] if isinstance(opened.settings, FollowersOnHosts) else ["--refresh"]
    run(opened, "destroy", "--exclude-protected", *refresh, *consent(opened, yes=yes))
    show_kept(kept)
    if opened.sandbox is None:
        say(f"`make up{opened.choice}` takes the data up again")
        if not isinstance(opened.settings, FollowersOnHosts):
            say(f"`make purge{opened.choice}` deletes it")


def refuse_to_abandon(opened: Deployment, named: set[str]) -> None:
    """Raise :class:`UserError` while other stacks have followers of this one's leader, unless they are *named*."""
    with hosts_in(opened) as hosts:
        joined = joined_stacks_on_hosts(hosts) if hosts else joined_stacks(opened)
    left = sorted(joined - named)
    if left:
        every = ",".join(sorted(joined))
        raise UserError(
            f"the leader of this stack serves followers of {', '.join(left)}; end those stacks first (`make down` with "
            f"their STACK). To leave them without a leader: make down{opened.choice} ABANDON={every}"
        )


def show_kept(kept: Mapping[str, str]) -> None:
    """Print what outlives the machines."""
    if kept:
        print_table(kept_table(kept), stderr=True)
        say("kept, with what guards it")


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
    on_aws = not isinstance(opened.settings, FollowersOnHosts)
    if on_aws and opened.sandbox is None:
        check_account(opened.region)
    elif on_aws and opened.sandbox and opened.sandbox.machines:
        refuse_a_shared_block(opened)
    if not opened.exists():
        opened.create()
        return
    take_over(opened)
    outputs = opened.outputs()
    if (
        opened.sandbox is not None
        and "bucket" in outputs
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
    settings = opened.settings
    if not isinstance(settings, Settings) or settings.network.vpc_id is not None:
        return  # it makes no VPC
    block = IPv4Network(settings.network.cidr_block)
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
    if "followers" not in outputs:
        raise UserError(
            f"the stack {opened.stack} is not deployed; `make up{opened.choice}` deploys it"
        )
    return outputs


def shell_command(opened: Deployment, node: str, outputs: Mapping[str, Any]) -> list[str]:
    """What opens a shell on a node's machine."""
    if opened.sandbox is not None and not opened.sandbox.docker_host:
        raise UserError("this sandbox records machines and boots none, so there is no shell")
    on_hosts = isinstance(opened.settings, FollowersOnHosts)
    if on_hosts and opened.sandbox is None:
        return [*shlex.split(entries(outputs)[node]["shell"]), "-t", "sudo -i"]
    if on_hosts:
        machine = container(opened.stack, node)
    else:
        found = {each.name: each.machine for each in nodes(opened, outputs)}[node]
        if found is None:
            raise UserError(f"{node} has no machine; `make show{opened.choice}` says more")
        machine = found.instance_id
    if opened.sandbox is None:
        return ["aws", "ssm", "start-session", "--region", opened.region, "--target", machine]
    way = "-it" if sys.stdin.isatty() else "-i"  # or a script could not write to it
    return ["docker", "-H", str(opened.sandbox.docker_host), "exec", way, machine, "bash", "-l"]


def provable(opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None) -> Nodes:
    """The nodes to prove. Raises :class:`UserError` unless every one of them is ready."""
    found = present_nodes(opened, outputs, hosts)
    unready = [f"{node.name} is {node.state}" for node in found if node.state != "ready"]
    if unready:
        raise UserError(
            f"only a cluster of ready nodes can be proven: {'; '.join(unready)}. `make up{opened.choice}` waits "
            "for them and says why not"
        )
    machines = {node.name: node.machine for node in found if node.machine}
    addresses = {name: machine.address for name, machine in machines.items()}
    if hosts is not None:
        return nodes_to_prove_on_hosts(opened, outputs, hosts, addresses)
    instances = {name: machine.instance_id for name, machine in machines.items()}
    return nodes_to_prove(opened, outputs, instances, addresses)


@contextmanager
def hosts_in(opened: Deployment) -> Iterator[Hosts | None]:
    """The hosts of a stack that exists, one SSH connection each while the block runs; None on AWS."""
    settings = opened.hosts_settings()
    if settings is None:
        yield None
        return
    with hosts_of(settings) as hosts:
        yield hosts


def present_nodes(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None
) -> list[Node]:
    """The nodes of a deployed stack as they are now."""
    return nodes(opened, outputs) if hosts is None else nodes_on_hosts(hosts, outputs)


def check_hosts(opened: Deployment, hosts: Hosts) -> None:
    """Look at every host before any is touched. Raises :class:`UserError` for what keeps a host from being a node.

    A host that does not answer stops only the first deployment: later its cluster goes on without it.
    """
    say(f"looking at {len(hosts.settings.nodes)} hosts")
    troubles = preflight(hosts, opened.cluster)
    if not troubles:
        return
    print_table(trouble_table(troubles), stderr=True)
    deployed = "followers" in opened.outputs()
    blocking = [each for each in troubles if each.blocks and not (deployed and each.unreachable)]
    if blocking:
        raise UserError(
            f"{len(blocking)} problems on the hosts, told above; nothing was changed. "
            f"`make up{opened.choice}` looks again"
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
        if not isinstance(opened.settings, FollowersOnHosts):
            say(f"its AWS answers at {opened.sandbox.aws_endpoint}")
        if opened.sandbox.machines:
            say(f"prove it:  `make prove{choice}`")
        else:
            say("not booted: this sandbox records machines and boots none (docs/sandbox.md)")
        if isinstance(opened.settings, FollowersOnHosts):
            say(f"shell:     `make shell{choice} NODE=leader`")
    else:
        first = next(iter(entries(outputs).values()), None)
        if first is not None:
            say(f"web page:  {first['portForward']}, then http://localhost:8080")
            say(f"shell:     {first['shell']}")
    say(
        f"change it: edit stacks/Pulumi.{opened.stack}.yaml, `make preview{choice}`, `make up{choice}`"
    )
    say(f"end it:    `make down{choice}`" + ("" if opened.sandbox else ", which keeps the data"))


if __name__ == "__main__":
    app()
