"""node.planning: what a link or a protocol could give, before it is built: rates, reaches, best settings."""
