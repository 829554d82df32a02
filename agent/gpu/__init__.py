"""The machine's GPUs: which there are, how they are, and what is done about their faults."""
