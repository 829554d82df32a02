"""Programs that a resource of the deployment runs."""
