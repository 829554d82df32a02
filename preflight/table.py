"""How the operator's commands show what the preflight found."""

from rich.markup import escape
from rich.table import Table

from model.problems import counted
from preflight import Report
from preflight.tables import plain_table

COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "could not run": "yellow",
    "switched off": "dim",
}


def could_not_run(report: Report) -> str:
    """The checks that could not run, each with why, in one line; empty where all did."""
    told = [f"{each.check} ({each.unanswered})" for each in report.outcomes if each.unanswered]
    return f"could not run: {'; '.join(told)}" if told else ""


def report_table(report: Report) -> Table:
    """One row per check. The problems themselves are told below it, where there is room."""
    table = plain_table("check", "result", "why", prose=("why",))
    for each in report.outcomes:
        count = len(each.problems)
        told = [f"{counted(count, 'problem')}, below"] if count else []
        told += [words for words in (each.unanswered, each.remark) if words]
        if each.skipped:
            told = ["by preflight.skip of the stack file"]
        table.add_row(
            each.check, f"[{COLOURS[each.result]}]{each.result}[/]", escape(". ".join(told))
        )
    return table
