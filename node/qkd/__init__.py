"""node.qkd: from clicks to secret keys: sifting, estimation, reconciliation, amplification, and the session around them."""
