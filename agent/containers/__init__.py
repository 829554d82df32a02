"""Docker and Compose: what runs, what should, and how to change it."""
