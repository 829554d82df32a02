"""The operator's command line. It deploys, shows and ends clusters; what a cluster is, `components` says."""
