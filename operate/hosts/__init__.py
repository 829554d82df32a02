"""Hosts over SSH: connections, facts, and what is checked before one is touched."""
