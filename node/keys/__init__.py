"""node.keys: the key manager (KME) of a node: store, exchange with other KMEs, ETSI GS QKD 014."""
