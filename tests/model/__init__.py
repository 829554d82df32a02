"""Tests of the plain rules: settings, catalogue, workers, subnets, node specification."""
