"""node: the process of a network node."""
