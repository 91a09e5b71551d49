"""node.qkd: from clicks to secret keys, and the session that leads two nodes there."""
