"""One stack: its file, its state, and how to reach what it deployed."""
