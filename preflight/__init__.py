"""What can be known before anything starts: quota, capacity, image, cost. Read-only, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from model.problems import Problem, UserError, counted, numbered
from model.settings.aws import CheckName
from preflight.budget import budget
from preflight.cluster import cluster
from preflight.cost import price
from preflight.credentials import clock, credentials
from preflight.image import image
from preflight.offerings import offerings
from preflight.parts import unanswered
from preflight.quota import quota
from preflight.references import references
from preflight.release import release
from preflight.reservations import reservations
from preflight.situation import Finding, Remark, Situation, Unanswered, UnansweredError

Check = Callable[[Situation], tuple[Finding, ...]]
Result = Literal["passed", "failed", "could not run", "switched off"]

FIRST: Mapping[CheckName, Check] = {
    "credentials": credentials,
    "clock": clock,
}
"""Without these AWS answers nothing else."""

CHECKS: Mapping[CheckName, Check] = {
    "cluster": cluster,
    "references": references,
    "offerings": offerings,
    "quota": quota,
    "reservations": reservations,
    "image": image,
    "release": release,
    "price": price,
    "budget": budget,
}
"""Made side by side once the first ones have passed."""

RUN_SECONDS = 40
"""How long all checks may take. What AWS throttles to the end or does not answer ends by itself in less."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one check found. It has passed where it ran and found no problem, whatever it remarks."""

    check: CheckName
    problems: tuple[Problem, ...] = ()
    remark: str = ""
    """What a check that ran has to say beside its problems; it keeps nothing from starting."""
    document: str = ""
    """What somebody is to copy."""
    unanswered: str = ""
    """Why the check or a part of it could not run, and what would let it."""
    skipped: bool = False
    """Whether the stack file switches it off."""

    @property
    def result(self) -> Result:
        """One word for it."""
        if self.skipped:
            return "switched off"
        if self.problems:
            return "failed"
        return "could not run" if self.unanswered else "passed"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What all checks found, in their order."""

    outcomes: tuple[Outcome, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that keeps the deployment from starting. A check that could not run keeps nothing."""
        return tuple(problem for each in self.outcomes for problem in each.problems)

    def checks(self, result: Result) -> list[CheckName]:
        """The checks that ended so."""
        return [each.check for each in self.outcomes if each.result == result]


class PreflightError(UserError):
    """What would make a deployment fail, all of it, known before anything was started."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        problems = self.report.problems
        lines = [
            f"{counted(len(problems), 'problem')} on the way to this deployment:",
            *numbered(problems),
        ]
        lines.append("Nothing was changed.")
        doubtful = [each for each in self.report.checks("failed") if each in CHECKS]
        if doubtful:
            lines[-1] += (
                " A check that is wrong about your account is switched off in the stack file: "
                f"graphistry-cluster:preflight: {{skip: [{', '.join(doubtful)}]}}"
            )
        return "\n\n".join(lines)


def run(situation: Situation, skipped: Collection[CheckName]) -> Report:
    """Make every check that is not *skipped*; a few seconds, and at most :data:`RUN_SECONDS` for each of two rounds.

    A check that AWS does not answer (a missing right, throttling to the end, an outage) is an outcome of its own.
    """
    first = _outcomes(situation, FIRST, skipped)
    failed = [each.check for each in first if each.problems]
    if failed:
        reason = f"not asked, as {' and '.join(failed)} failed"
        others = tuple(
            Outcome(check=name, skipped=True)
            if name in skipped
            else Outcome(check=name, unanswered=reason)
            for name in CHECKS
        )
    else:
        others = _outcomes(situation, CHECKS, skipped)
    return Report(outcomes=(*first, *others))


def _outcomes(
    situation: Situation, checks: Mapping[CheckName, Check], skipped: Collection[CheckName]
) -> tuple[Outcome, ...]:
    made = {name: check for name, check in checks.items() if name not in skipped}
    threads = ThreadPoolExecutor(max_workers=len(checks))
    running = {name: threads.submit(check, situation) for name, check in made.items()}
    wait(running.values(), timeout=RUN_SECONDS)
    threads.shutdown(wait=False, cancel_futures=True)
    return tuple(
        _outcome(name, running[name]) if name in running else Outcome(check=name, skipped=True)
        for name in checks
    )


def _outcome(name: CheckName, check: Future[tuple[Finding, ...]]) -> Outcome:
    if not check.done():
        return Outcome(check=name, unanswered=f"no answer of AWS within {RUN_SECONDS} s")
    try:
        found = check.result()
    except UnansweredError as error:
        return Outcome(check=name, unanswered=str(error))
    except (BotoCoreError, ClientError) as error:
        return Outcome(check=name, unanswered=unanswered(error))
    return Outcome(
        check=name,
        problems=tuple(each for each in found if isinstance(each, Problem)),
        remark=". ".join(each.text for each in found if isinstance(each, Remark)),
        document="\n".join(
            each.document for each in found if isinstance(each, Remark) and each.document
        ),
        # Parts of a check often lack the same permission.
        unanswered="; ".join(
            dict.fromkeys(each.text for each in found if isinstance(each, Unanswered))
        ),
    )
