"""How hypothesis searches here: without a deadline, as a busy computer is no failing test."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")
