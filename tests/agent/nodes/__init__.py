"""Whole nodes that converge, whose commands are processes of stand-ins: slower than the agent's other tests."""
