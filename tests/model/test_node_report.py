"""What a node's agent says is shown on the operator's terminal, and root of the node may say anything."""

from __future__ import annotations

import json

from model.node_report import NodeReport

HOSTILE = "\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2Kall\r\nis well\u202e"


def test_nothing_in_a_report_moves_a_terminals_cursor() -> None:
    failure = {"phase": HOSTILE, "code": HOSTILE, "message": HOSTILE, "hint": HOSTILE}
    document = {
        "state": "failed",
        "phase": HOSTILE,
        "heartbeat": "2026-11-30T13:00:00Z",
        "instance": {"id": HOSTILE},
        "failure": {**failure, "log": [HOSTILE]},
        "warnings": [HOSTILE],
        "phases": [{"name": HOSTILE, "state": "done", "seconds": 1}],
        "checks": [{"name": HOSTILE, "ok": False, "detail": HOSTILE}],
        "gpus": [{"index": 0, "name": HOSTILE, "memoryMib": 1}],
        "disks": [{"name": HOSTILE, "path": HOSTILE, "sizeMib": 1, "usedMib": 1, "freeMib": 1}],
        "replacement": {"state": "held", "reason": HOSTILE},
        "versions": {"driver": HOSTILE},
    }
    shown = NodeReport.model_validate_json(json.dumps(document)).model_dump_json()
    assert json.loads(shown)["warnings"][0].endswith("all  is well ")
    for control in ("\\u001b", "\\u0007", "\\r", "\\n", "\u202e"):
        assert control not in shown
