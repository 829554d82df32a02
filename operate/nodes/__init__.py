"""The nodes of a deployed stack, as they are now."""
