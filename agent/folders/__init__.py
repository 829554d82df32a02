"""The shared folder and what is in it: how it is mounted, and whose each folder is."""
