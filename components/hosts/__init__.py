"""The parts of a cluster on machines that exist already."""
