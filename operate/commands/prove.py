"""``prove``: the promises of a cluster, tried on its running nodes."""

from __future__ import annotations

import dataclasses
import json

import typer

from operate.commands.options import AsJson, Stack, Where
from operate.commands.proofs import Proof, proofs
from operate.commands.provable import provable
from operate.commands.screen import show_proof
from operate.nodes.present import deployed_outputs, hosts_in
from operate.stack.session import deployment
from operate.terminal.messages import say


def prove(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: AsJson = False,
) -> None:
    """Try the cluster's promises on its running nodes; exit status 1 unless every one is proven."""
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
