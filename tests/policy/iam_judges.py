"""Findings of parliament and of cloudsplaining in the policies of roles, and the reasons for those that stay."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import parliament
from cloudsplaining.scan.policy_document import PolicyDocument

from tests.harness import ROOT
from tests.policy.documents import Policy

CLOUDSPLAINING = (
    "allows_privilege_escalation",
    "allows_data_exfiltration_actions",
    "credentials_exposure",
    "infrastructure_modification",
    "permissions_management_without_constraints",
    "service_wildcard",
)
"""What cloudsplaining looks for; here also in statements that have a condition, which it takes for narrow enough."""


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """What a judge says of a policy."""

    judge: str
    check: str
    policy: str
    detail: str

    def __str__(self) -> str:
        return f"{self.judge} {self.check} on {self.policy}: {self.detail}"


@dataclass(frozen=True)
class Reason:
    """A row of the table of ``docs/explanation/policy.md``: why a finding stays."""

    check: str
    policy: str
    """Pattern of the policy's name, ``*`` for anything."""

    detail: str
    """Pattern of what was found in it."""

    why: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is about *finding*."""
        return (
            finding.check == self.check
            and fnmatch.fnmatchcase(finding.policy, self.policy)
            and fnmatch.fnmatchcase(finding.detail, self.detail)
        )


def reasons() -> list[Reason]:
    """The table of ``docs/explanation/policy.md``."""
    text = (ROOT / "docs" / "explanation" / "policy.md").read_text()
    rows = re.findall(r"^\| `([A-Za-z_]+)` \| `(.+?)` \| `(.+?)` \| (.+) \|$", text, re.MULTILINE)
    return [Reason(*row) for row in rows]


def findings(policies: Sequence[Policy]) -> Iterator[Finding]:
    """What both say of the policies of roles."""
    for policy in policies:
        if policy.kind == "identity":
            yield from _parliament(policy)
            yield from _cloudsplaining(policy)


def _parliament(policy: Policy) -> Iterator[Finding]:
    judged = parliament.analyze_policy_string(policy.text, include_community_auditors=True)
    for found in judged.findings:
        what = found.location.get("actions") or found.detail
        yield Finding(
            judge="parliament",
            check=found.issue,
            policy=policy.name,
            detail=", ".join(map(str, what)) if isinstance(what, list) else str(what),
        )


def _cloudsplaining(policy: Policy) -> Iterator[Finding]:
    judged = PolicyDocument(json.loads(policy.text), flag_conditional_statements=True)
    for check in CLOUDSPLAINING:
        for found in getattr(judged, check):
            detail = ", ".join(found["actions"]) if isinstance(found, dict) else str(found)
            yield Finding(judge="cloudsplaining", check=check, policy=policy.name, detail=detail)
