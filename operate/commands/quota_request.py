"""``quota-request``: shows the quotas that a stack lacks and what is asked for already, and asks AWS."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from rich.markup import escape
from rich.table import Table

from model.problems import UserError
from model.quota import OpenRequest, Shortfall, console_link
from operate.commands.options import Stack, Where, Yes
from operate.commands.preparation import signed_in
from operate.commands.screen import confirmed, print_table
from operate.stack.session import deployment
from operate.terminal.messages import say
from preflight.quota import SERVICE, open_request, shortfalls_of
from preflight.situation import Situation, UnansweredError
from preflight.tables import plain_table


@dataclass(frozen=True, kw_only=True)
class WantedQuota:
    """A quota that does not hold the stack, and what is asked for already."""

    shortfall: Shortfall
    open_request: OpenRequest | None

    @property
    def enough(self) -> bool:
        """Whether what is asked for already would do."""
        request = self.open_request
        return request is not None and request.value >= self.shortfall.value

    @property
    def phrase(self) -> str:
        """What to ask for, in words."""
        return f"{self.shortfall.value} vCPUs of {self.shortfall.quota.name}"


def wanted_quotas(situation: Situation) -> list[WantedQuota]:
    """Every quota that does not hold the stack. Raises :class:`UserError` where AWS cannot tell."""
    try:
        found = shortfalls_of(situation)
    except UnansweredError as error:
        raise UserError(str(error)) from None
    return [
        WantedQuota(shortfall=each, open_request=open_request(situation, each.quota))
        for each in found
    ]


def ask(situation: Situation, wanted: WantedQuota) -> str:
    """Ask AWS; what it answers, in words."""
    answer = situation.client("service-quotas").request_service_quota_increase(
        ServiceCode=SERVICE,
        QuotaCode=wanted.shortfall.quota.code,
        DesiredValue=float(wanted.shortfall.value),
    )["RequestedQuota"]
    return f"request {answer['Id']} is {answer['Status'].lower().replace('_', ' ')}"


def wanted_table(wanted: list[WantedQuota]) -> Table:
    """One row per quota; all numbers are vCPUs."""
    columns = ("quota", "code", "limit", "in use", "this plan", "ask for", "asked already")
    table = plain_table(*columns, prose=("quota", "asked already"))
    for each in wanted:
        lack, request = each.shortfall, each.open_request
        asked = f"{request.value} on {request.day}" if request else "-"
        numbers = (lack.limit, lack.in_use, lack.need, lack.value)
        table.add_row(escape(lack.quota.name), lack.quota.code, *map(str, numbers), asked)
    return table


def quota_request(stack: Stack = "sandbox", target: Where = None, yes: Yes = False) -> None:
    """Ask AWS for the quotas that a stack needs and the account lacks; exit status 1 until all are requested."""
    with deployment(stack, target, changes=False) as opened:
        situation = signed_in(opened)
        wanted = wanted_quotas(situation)
        if not wanted:
            say(f"the quotas suffice for the stack {stack}; nothing to request")
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
