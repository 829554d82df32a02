"""The phases of converging, one file each, named as the node report names them."""
