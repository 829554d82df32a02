"""The vendor's product as the agent meets it: Compose, services, wiring, users, pages."""
