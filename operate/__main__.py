"""The operator's command line, ``python -m operate``; ``make`` calls it.

Each command imports what it alone needs: `make show` would wait longer for imports than for AWS.
"""

from __future__ import annotations

import atexit
import dataclasses
import gc
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from model.hosts import FollowersOnHosts
from model.problems import counted
from model.quota import console_link
from model.settings import Settings
from operate.deployment import (
    ROOT,
    SANDBOX_DIRECTORY,
    Target,
    choice_of,
    default_target,
    stack_file_of,
)
from operate.messages import UserError, for_stack, say
from operate.opening import (
    checked,
    consent,
    deployment,
    mistakes_told,
    require_reach,
    require_sandbox,
    sandbox_runs,
    workbench_of,
)
from operate.streams import open_streams
from operate.told_release import VARIABLE
from operate.words import (
    NEWEST,
    cuda_version,
    driver_version,
    node_name,
    refuse_environment,
    stack_name,
    stack_names,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def existing_stack(text: str) -> str:
    """The name of a stack that has a file, before a lock is made for it. Raises :class:`UserError`."""
    stack_file_of(stack_name(text))
    return text


Stack = Annotated[
    str,
    typer.Option(help="The stack: stacks/Pulumi.<stack>.yaml.", callback=checked(existing_stack)),
]
Where = Annotated[
    Target | None,
    typer.Option(
        help="Where to; without it the stacks sandbox and …-sandbox go to the sandbox, others to AWS or their hosts."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for machines.")]


@app.callback()
def before_any_command() -> None:
    """The commands of a cluster's operator; `make help` shows the short way to each."""
    with mistakes_told():
        refuse_environment()


@app.command()
def up(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    name: Annotated[
        str, typer.Option(help="Names of kept data, by comma, that this deployment may give up.")
    ] = "",
) -> None:
    """Deploy a stack and show its nodes. On AWS Pulumi shows the plan and asks first."""
    from operate.kept_data import unprotected
    from operate.preparation import check_hosts, data_to_give_up, prepare, tell_changes
    from operate.present import hosts_in, is_deployed, present_nodes, settled_nodes
    from operate.screen import next_steps, show_nodes, show_unready

    with deployment(stack, target, boots=True) as opened:
        looked = prepare(opened)
        changes = tell_changes(opened)
        # A node that fails must not keep the others from getting ready.
        options = ["--refresh", "--suppress-outputs", "--continue-on-error"]
        with hosts_in(opened) as hosts:
            if hosts is not None:
                options += check_hosts(opened, hosts)
            typed = {each for each in name.split(",") if each}
            lost = data_to_give_up(opened, changes, typed)
            with unprotected(opened, lost):
                status, refused = opened.up(*options, *consent(opened, yes=yes))
            outputs = opened.outputs()
            look = present_nodes if status else settled_nodes
            found = look(opened, outputs, hosts) if is_deployed(opened, outputs) else []
        if found:
            show_nodes(found, as_json=False)
        failing = show_unready(opened, found)
        if looked and looked.could_not_run:
            say(looked.could_not_run)
        if status:
            for told in refused:
                say(told)
            say(
                f"failures are listed above; after fixing them, `make up{opened.choice}` continues from here"
            )
            raise typer.Exit(status)
        if failing:
            say(
                f"{len(failing)} of {counted(len(found), 'node')} "
                f"{'is' if len(failing) == 1 else 'are'} not ready; "
                f"`make up{opened.choice}` continues from here"
            )
            raise typer.Exit(1)
        next_steps(opened, outputs)


@app.command()
def preview(stack: Stack = "sandbox", target: Where = None) -> None:
    """Show what a deployment would change, compared with what AWS has now."""
    from operate.preparation import check_hosts, data_to_give_up, prepare, tell_changes
    from operate.present import hosts_in

    with deployment(stack, target) as opened:
        looked = prepare(opened)
        changes = tell_changes(opened)
        options = ["--refresh"]
        with hosts_in(opened) as hosts:
            if hosts is not None:
                options += check_hosts(opened, hosts)
        data_to_give_up(opened, changes, set())
        status = opened.run("preview", *options, *opened.configured())
        if looked:  # once more, as the plan may be longer than a screen
            for line in filter(None, (looked.could_not_run, looked.cost)):
                say(line)
        raise typer.Exit(status)


@app.command()
def down(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    abandon: Annotated[
        str,
        typer.Option(
            help="Stacks of followers, by comma, that may lose their leader.",
            callback=checked(lambda text: ",".join(sorted(stack_names(text)))),
        ),
    ] = "",
) -> None:
    """Destroy the machines of a stack and keep its data. The sandbox is stopped, and forgets."""
    from operate.ending import (
        refuse_other_state,
        refuse_to_abandon,
        stop_unused_sandbox,
        take_down,
    )

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
            refuse_other_state(opened)
            say(f"the stack {stack} was never deployed")
        if opened.sandbox is not None:
            stop_unused_sandbox(opened, opened.sandbox)


@app.command()
def purge(
    name: Annotated[
        str, typer.Option(help="The stack's name once more: its data is deleted.")
    ] = "",
    stack: Stack = "sandbox",
    target: Where = None,
) -> None:
    """Destroy a stack and DELETE ITS DATA. Asks for the stack's name."""
    from operate.ending import (
        delete_everything,
        forget_restarted,
        refuse_other_state,
        refuse_to_abandon,
    )
    from operate.joined import cluster_of
    from operate.kept_data import data_volumes, final_snapshots, snapshot_of_purged
    from operate.preparation import known, take_over
    from operate.screen import show_kept

    with deployment(stack, target) as opened:
        if not opened.exists():
            refuse_other_state(opened)
            raise UserError(f"the stack {stack} was never deployed; there is nothing to delete")
        if isinstance(opened.settings, FollowersOnHosts):
            show_kept("kept on the hosts:", opened.outputs().get("keptData", {}))
            raise UserError(
                f"nothing is deleted on hosts. `make down{opened.choice}` makes them plain hosts again; then delete "
                "these places by hand, as root"
            )
        refuse_to_abandon(opened, set())
        cluster_of(opened)
        take_over(opened)
        show_kept("to be deleted:", opened.outputs().get("keptData", {}))
        if not name and sys.stdin.isatty():
            name = typer.prompt(f"All of this is deleted for good. Type the stack's name ({stack})")
        if name != stack:
            raise UserError(
                f"got {name!r} as the name of what to delete; allowed is {stack!r}: "
                f"make purge{opened.choice} NAME={stack}. Nothing was deleted"
            )
        if forget_restarted(opened):
            return
        volumes, identity = data_volumes(opened), known(opened).identity
        delete_everything(opened)
        opened.read("stack", "rm", "--yes", "--preserve-config", *opened.named())
        say("deleted; Secrets Manager can restore the secret for 30 days")
        for told in final_snapshots(opened, volumes).values():
            say(told)
        if not volumes and isinstance(opened.settings, Settings):
            say(snapshot_of_purged(opened, identity))


@app.command()
def show(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show the nodes of a deployed stack."""
    from operate.present import deployed_outputs, hosts_in, present_nodes
    from operate.screen import show_nodes, show_unready

    with deployment(stack, target, start=False, changes=False) as opened:
        outputs = deployed_outputs(opened)
        with hosts_in(opened) as hosts:
            found = present_nodes(opened, outputs, hosts)
        show_nodes(found, as_json=as_json)
        if not as_json:
            show_unready(opened, found)


@app.command()
def outputs(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show the outputs of a stack: endpoints, ids, and commands to copy. No secret is among them."""
    from operate.screen import show_outputs

    with deployment(stack, target, start=False, changes=False) as opened:
        found = opened.outputs() if opened.exists() else {}
        if not found:
            raise UserError(
                f"the stack {stack} has no outputs; `make up{opened.choice}` makes them"
            )
        show_outputs(found, as_json=as_json)


@app.command()
def prove(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Try the cluster's promises on its running nodes; exit status 1 unless every one is proven."""
    from operate.present import deployed_outputs, hosts_in, provable
    from operate.prove import Proof, proofs
    from operate.screen import show_proof

    with deployment(stack, target, start=False, changes=False) as opened:
        outputs = deployed_outputs(opened)
        seen: list[Proof] = []
        with hosts_in(opened) as hosts:
            for proof in proofs(provable(opened, outputs, hosts)):
                seen.append(proof)
                if not as_json:
                    show_proof(proof)
        if as_json:
            print(json.dumps([dataclasses.asdict(proof) for proof in seen], indent=2))
        proven = sum(proof.kept is True for proof in seen)
        unknown = sum(proof.kept is None for proof in seen)
        say(
            f"{proven} of {len(seen)} proofs succeeded"
            + (f", {unknown} could not be tried: not proven" if unknown else "")
        )
        if proven < len(seen):
            raise typer.Exit(1)


@app.command()
def shell(
    node: Annotated[
        str,
        typer.Option(
            help="The node: leader, or the name of a follower.", callback=checked(node_name)
        ),
    ],
    stack: Stack = "sandbox",
    target: Where = None,
) -> None:
    """Open a shell on a node: through Session Manager, or on the sandbox's machine."""
    from operate.nodes import entries
    from operate.present import deployed_outputs, shell_command

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
    node: Annotated[str, typer.Option(help="One node, or all.", callback=checked(node_name))] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Accept what is new; for machines.")] = False,
) -> None:
    """Collect the host keys of a stack on hosts, show their fingerprints, write the accepted ones into its file."""
    from operate.host_keys import CHANGED, KNOWN, NEW, advice, collect, key_table, write
    from operate.sandbox_hosts import take_keys
    from operate.screen import print_table

    if bench := workbench_of(stack, target, start=False):
        raise typer.Exit(bench.run(sys.argv[1:]))
    rehearsal = (target or default_target(stack)) is Target.SANDBOX
    folder = SANDBOX_DIRECTORY / "stacks" if rehearsal else ROOT / "stacks"
    stack_file = folder / f"Pulumi.{stack}.yaml"
    with mistakes_told():
        require_sandbox(stack, target)
        found = collect(stack_file, node or None)
    print_table(key_table(found))
    choice, at_terminal = choice_of(stack, target), sys.stdin.isatty()
    command = f"make host-keys{choice}" + (f" NODE={node}" if node else "")
    for line in advice(found, command, yes=yes, at_terminal=at_terminal):
        say(for_stack(line, choice))
    accepted = [each for each in found if yes and each.state == NEW]
    if not yes and at_terminal:
        unknown = [each for each in found if each.state in (NEW, CHANGED)]
        accepted = [each for each in unknown if typer.confirm(f"Accept {each.place}?")]
    if accepted and rehearsal:
        taken = {each.place.removeprefix("followers."): each.key for each in accepted}
        with mistakes_told():
            take_keys(SANDBOX_DIRECTORY, stack, taken)
    elif accepted:
        with mistakes_told():
            write(stack_file, accepted)
    if accepted:
        place = "taken for this sandbox" if rehearsal else f"written to stacks/{stack_file.name}"
        say(f"{counted(len(accepted), 'key')} {place}; next: make preview{choice}")
    if any(each.state != KNOWN and each not in accepted for each in found):
        raise typer.Exit(1)
    if not accepted:
        say(f"every host answers with its key of the stack file; next: make preview{choice}")


@app.command()
def cost(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what a stack costs at list prices, next to its budget and what of it runs now; it changes nothing."""
    from operate.preflight.cost import price, reckoning
    from operate.preflight.cost_table import cost_document, cost_table
    from operate.preflight.credentials import unknown_region
    from operate.preflight.situation import UnansweredError
    from operate.preparation import situation_on_aws
    from operate.screen import print_table

    with deployment(stack, target, changes=False) as opened:
        situation = situation_on_aws(opened)
        if unknown := unknown_region(situation):
            raise UserError(f"no prices are shown, as another region's would mislead. {unknown}")
        known = reckoning(situation)
        if as_json:
            print(json.dumps(cost_document(known), indent=2))
        else:
            print_table(cost_table(known))
        try:
            for remark in price(situation):
                say(remark.text)
        except UnansweredError as error:
            say(str(error))


@app.command(name="quota-request")
def quota_request(stack: Stack = "sandbox", target: Where = None, yes: Yes = False) -> None:
    """Ask AWS for the quotas that a stack lacks; exit status 1 while one of them is not asked for."""
    from operate.preflight.quota_request import ask, wanted_quotas, wanted_table
    from operate.preparation import signed_in
    from operate.screen import confirmed, print_table

    with deployment(stack, target, changes=False) as opened:
        situation = signed_in(opened)
        wanted = wanted_quotas(situation)
        if not wanted:
            say(f"the quotas of AWS hold the stack {stack}; there is nothing to ask for")
            return
        print_table(wanted_table(wanted))
        for each in wanted:
            if each.open_request is not None and each.enough:
                say(f"already asked for {each.phrase}, on {each.open_request.day}: AWS decides")
        left = [each for each in wanted if not each.enough]
        for each in list(left):
            if each.open_request is None and (yes or confirmed(f"Ask AWS for {each.phrase}?")):
                say(f"asked for {each.phrase}: {ask(situation, each)}")
                left.remove(each)
        for each in left:
            if each.open_request is not None:
                say(
                    f"AWS takes one request at a time, and the open one is too small for {each.phrase}: "
                    f"answer its case at {console_link(each.shortfall.quota, opened.region)}"
                )
        if left:
            raise typer.Exit(1)


@app.command()
def publish(
    archive: Annotated[Path, typer.Argument(help="The vendor's archive, release.tar.gz.")],
    stack: Stack = "sandbox",
    target: Where = None,
    bucket: Annotated[
        str, typer.Option(help="Where to; made if it is not there. Without it the account's own.")
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Write the archive's version into the stack file too.")
    ] = False,
) -> None:
    """Check the vendor's archive, store it in a bucket, and let the stack fetch it from there."""
    from operate.publish import publish as publish_archive
    from operate.release_archive import require_archive

    archive = archive.expanduser().absolute()
    with mistakes_told():
        require_archive(archive)  # nobody needs credentials, an engine or a sandbox to learn that
    require_reach(archive, stack, target)
    with deployment(stack, target, changes=False) as opened:
        publish_archive(opened, archive, bucket, yes=yes)


@app.command(name="stand-in")
def stand_in(
    archive: Annotated[Path, typer.Argument(help="Where to write it.")], stack: Stack = "dev"
) -> None:
    """Write the sandbox's stand-in for the release of a stack to a file, to publish in a rehearsal."""
    from operate.stand_in import write_stand_in

    with mistakes_told():
        write_stand_in(stack, archive)
    say(f"{archive}: a stand-in for rehearsals, which holds nothing of Graphistry's")
    say(f"next: make publish ARCHIVE={archive} STACK={stack} TARGET=sandbox")


@app.command(name="image-refresh")
def image_refresh(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    image: Annotated[
        str, typer.Option(help="newest, running (what the leader runs now), or an image's id.")
    ] = NEWEST,
    driver: Annotated[
        str,
        typer.Option(
            help="NVIDIA driver, as its release notes say.", callback=checked(driver_version)
        ),
    ] = "",
    cuda: Annotated[
        str,
        typer.Option(
            help="CUDA toolkit, as its release notes say.", callback=checked(cuda_version)
        ),
    ] = "",
) -> None:
    """Show what a newer machine image would do to the nodes, and lock it in the stack file."""
    from operate.image_lock import stack_file_to_lock, write_lock
    from operate.image_refresh import effect_table, image_table, notes, offer, refuse_unusable
    from operate.screen import print_table

    with deployment(stack, target, changes=False) as opened:
        offered = offer(opened, image, driver, cuda)
        stack_file = stack_file_to_lock(opened)
        print_table(image_table(offered))
        if offered.running:
            print_table(effect_table(offered))
        for note in notes(offered):
            say(note)
        refuse_unusable(offered)
        if offered.lock == offered.locked:
            say("that image is locked already")
            return
        if not yes and not (sys.stdin.isatty() and typer.confirm("Lock it?")):
            raise UserError("nothing was written; a yes, or YES=1, locks the image")
        write_lock(stack_file, opened.region, offered.lock)
        say(f"locked in stacks/{stack_file.name}; `make preview{opened.choice}` shows what it does")


@app.command()
def environment(stack: Stack = "sandbox", target: Where = None) -> None:
    """Print the environment in which plain `pulumi` works on a stack, for a shell's `eval`."""
    with deployment(stack, target, changes=False, here=True, looks=False) as opened:
        names = {"PATH", "PULUMI_SKIP_UPDATE_CHECK"}
        if opened.sandbox is not None:
            names |= {*opened.sandbox.environment(), "PULUMI_HOME", "PULUMI_BACKEND_URL"}
            names |= {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"}
            names |= {VARIABLE} & opened.environment.keys()
        for name in sorted(names):
            print(f"export {name}={shlex.quote(opened.environment[name])}")


def main() -> None:
    """Run a command of this shell's words, with the streams that it has."""
    gc.set_threshold(100_000)  # as in /__main__.py, and for its reasons
    atexit.register(gc.freeze)
    open_streams()
    app()


if __name__ == "__main__":
    main()
