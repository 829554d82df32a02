"""What the composition costs: the cluster's program against the same resources registered flat."""
