"""``cost``: what a stack costs."""

from __future__ import annotations

import json

from model.problems import UserError
from operate.commands.options import AsJson, Stack, Where
from operate.commands.preparation import situation_on_aws
from operate.commands.screen import print_table
from operate.stack.session import deployment
from operate.terminal.messages import say
from preflight.cost import price, reckoning
from preflight.cost_table import cost_document, cost_table
from preflight.credentials import unknown_region
from preflight.situation import UnansweredError


def cost(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show what a stack costs at list prices, its budget, and the cost of what runs now; it changes nothing."""
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
