"""The part of a deployment that ends only when a node has proven itself."""

from shlex import join

import pulumi
from pulumi_command import local

from components.aws.node_documents import StoredSpecification
from components.aws.site import AwsSite

PYTHON = ".venv/bin/python"
"""Relative, so that the same node is the same resource in every checkout; Pulumi starts it in the project's folder."""


def node_ready(
    name: str,
    site: AwsSite,
    node: str,
    machine: dict[str, pulumi.Output[str]],
    stored: StoredSpecification,
    opts: pulumi.ResourceOptions,
) -> local.Command:
    """Wait until *node* reports that it is what *stored* says, and show how far it is meanwhile.

    *machine* are the options of ``operate.steps.node_ready`` that name what runs the node: its ``instance``, or its
    ``group`` and the instance ``types`` of that, where a machine of another type is replaced first.
    A changed specification or machine changes the command and so waits again; a wait that failed is not in the state
    and is waited for again by the next ``up``.
    """

    def command(known: dict[str, str]) -> str:
        options = {"node": node, "region": site.region.name, **known}
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        # Pulumi kills the shell it starts, and nothing that the shell has started: `exec` makes them one process.
        return join(["exec", PYTHON, "-m", "operate.steps.node_ready", *words])

    return local.Command(
        f"{name}-ready",
        create=pulumi.Output.all(bucket=site.bucket, specification=stored.sha256, **machine).apply(
            command
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[stored.object])),
    )
