"""How the commands speak, and what they are told."""
