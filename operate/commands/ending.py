"""How machines and data end."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.markup import escape

from model.problems import UserError, counted
from model.settings.hosts import FollowersOnHosts
from model.settings.stack_keys import DELETE_DATA, PROJECT
from model.tags import CLUSTER_TAG
from operate.commands.preparation import sandbox_knows, take_over
from operate.commands.screen import show_kept
from operate.nodes.joined import joined_stacks, joined_stacks_on_hosts
from operate.nodes.present import hosts_in
from operate.stack.dead_run import clear_dead_run
from operate.stack.deployment import SANDBOX_DIRECTORY, Deployment
from operate.stack.kept_data import protect_again, unfinished
from operate.stack.session import consent, run
from operate.stack.stack_yaml import dumped, read_yaml
from operate.terminal.messages import say
from preflight.situation import UNANSWERED
from sandbox.lifecycle import Sandbox, stop


def take_down(opened: Deployment, *, yes: bool, pulumis_view: bool = False) -> None:
    """Destroy what is not kept, and say what is."""
    take_over(opened)
    protect_again(opened)
    kept = opened.outputs().get("keptData", {})
    on_hosts = isinstance(opened.settings, FollowersOnHosts)
    # What somebody else has destroyed already is no reason to fail. A host is asked when it is removed.
    refresh = [] if on_hosts else ["--refresh"]
    options = ["--exclude-protected", *refresh, *consent(opened, yes=yes)]
    status = opened.destroy(*options, pulumis_view=pulumis_view)
    if status:
        raise typer.Exit(status)
    _require_end(opened, "down")
    if on_hosts:
        # Pulumi proposes it, where it has nothing left that is protected.
        say(
            f"leave `pulumi stack rm` alone: it deletes stacks/Pulumi.{opened.stack}.yaml, with which "
            f"`./cluster up{opened.choice}` begins again"
        )
    if opened.sandbox is not None:
        if not on_hosts:
            show_kept("a real account keeps, with what guards it:", kept)
    elif on_hosts:
        # Each has said it as it was removed, also what no output of the stack names.
        say(
            f"the hosts keep what stands after `kept:` above: `./cluster up{opened.choice}` takes it up again, and "
            "nobody deletes it but you, there, as root"
        )
    else:
        show_kept("kept, with what guards it:", kept)
        say(
            f"`./cluster up{opened.choice}` takes the data up again, `./cluster purge{opened.choice}` deletes it"
        )


def refuse_to_abandon(opened: Deployment, named: set[str]) -> None:
    """Raise :class:`UserError` while other stacks have followers of this one's leader, unless they are *named*."""
    with hosts_in(opened) as hosts:
        joined = joined_stacks_on_hosts(hosts) if hosts else joined_stacks(opened)
    left = sorted(joined - named)
    if left:
        every = ",".join(sorted(joined))
        raise UserError(
            f"the leader of this stack serves followers of {', '.join(left)}; end those stacks first. To leave "
            f"them without a leader: ./cluster down{opened.choice} --abandon {every}"
        )


def refuse_other_state(opened: Deployment) -> None:
    """Raise :class:`UserError` where AWS has machines of a stack that Pulumi's state here does not know: they would
    cost money behind a command that ended well. Says so where AWS does not answer, as before a first deployment.
    """
    if isinstance(opened.settings, FollowersOnHosts):
        return
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [opened.cluster]}
    alive = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    try:
        pages = opened.client("ec2").get_paginator("describe_instances")
        found = [
            each["InstanceId"]
            for page in pages.paginate(Filters=[ours, alive])
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
        ]
    except UNANSWERED as error:
        say(f"AWS does not say whether it has machines of that name: {escape(str(error))}")
        return
    if found:
        raise UserError(
            f"Pulumi's state here has no stack {opened.stack}, and {opened.region} has machines of it, which cost "
            f"money: {', '.join(sorted(found))}. Nothing was ended. Use the state that they were deployed with: "
            "`pulumi whoami --verbose` shows where this one is, `pulumi login` and PULUMI_BACKEND_URL choose another"
        )


def stop_unused_sandbox(opened: Deployment, sandbox: Sandbox) -> None:
    """Stop the sandbox unless another stack lives in it; its AWS is in memory and gone with it.

    A stack that was last changed before the sandbox began lived in an earlier one, and is in none any more.
    """
    stacks = json.loads(opened.read("stack", "ls", "--json"))
    others = [
        each["name"]
        for each in stacks
        if each["name"] != opened.stack
        and each.get("resourceCount", 0) > 1
        and datetime.fromisoformat(each["lastUpdate"]) > sandbox.started
    ]
    if others:
        say(f"the sandbox goes on for the stack {', '.join(others)}")
    elif stop(SANDBOX_DIRECTORY):
        say(f"sandbox stopped, and {_ended(opened)}")


def _ended(opened: Deployment) -> str:
    if isinstance(opened.settings, FollowersOnHosts):
        return "its hosts are gone with it; real ones keep what stands after `kept:` above"
    return "its account is gone with it, with everything that a real one keeps"


def forget_restarted(opened: Deployment) -> bool:
    """Forget a stack whose sandbox has ended since, and its AWS with all data; whether it was one."""
    outputs = opened.outputs()
    if (
        opened.sandbox is None
        or "bucket" not in outputs
        or sandbox_knows(opened, outputs["bucket"])
    ):
        return False
    # Its resources are protected, and nothing of them is there to be destroyed.
    opened.read("stack", "rm", "--yes", "--force", "--preserve-config", *opened.named())
    say(
        "the sandbox was restarted since the last deployment, and its AWS is empty: there was nothing left to delete"
    )
    return True


def delete_everything(opened: Deployment) -> None:
    """Destroy machines and data. What is left when that fails, or somebody presses Ctrl-C, is protected again."""
    try:
        lift_protection(opened)
        run(opened, "destroy", *consent(opened, yes=True))
        _require_end(opened, "purge")
    except BaseException:
        # A Pulumi that is stopped before it listens for that dies with its lock.
        clear_dead_run(opened)
        protect_again(opened)
        raise


def _require_end(opened: Deployment, command: str) -> None:
    """Raise :class:`UserError` where Pulumi was stopped: after Ctrl-C it says that all is destroyed, with status 0."""
    left = unfinished(opened.checkpoint().get("resources", []))
    if left:
        raise UserError(
            f"Pulumi was stopped before the end. Left of the stack {opened.stack}: {counted(len(left), 'resource')}, "
            f"which may cost money ({', '.join(left[:5])}{', ...' if len(left) > 5 else ''}). "
            f"`./cluster {command}{opened.choice}` goes on from here"
        )


def lift_protection(opened: Deployment) -> None:
    """Update what is protected or retained, and only that, with the stack's name under ``deleteData``.

    Does nothing where an interrupted purge has lifted all of it already. Ends the command where Pulumi fails.
    """
    held = [
        each["urn"]
        for each in opened.checkpoint().get("resources", [])
        if each.get("protect") or each.get("retainOnDelete")
    ]
    if not held:
        return  # without a target Pulumi would deploy the whole cluster first
    content = read_yaml(opened.config_file).data
    content["config"][f"{PROJECT}:{DELETE_DATA}"] = opened.stack
    # Not next to the stack file, where it would be another stack's after a kill.
    with TemporaryDirectory() as folder:
        lifted = Path(folder) / opened.config_file.name
        lifted.write_text(dumped(content))
        status = opened.run(
            "up",
            "--yes",
            "--skip-preview",
            "--suppress-outputs",
            *(f"--target={urn}" for urn in held),
            *opened.named(),
            "--config-file",
            str(lifted),
        )
    if status:
        raise typer.Exit(status)
