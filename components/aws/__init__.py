"""What the ``aws`` site adds to a cluster: network, machines, shared folder, documents and rights."""
