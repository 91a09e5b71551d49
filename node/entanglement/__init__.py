"""node.entanglement: pairs of entangled qubits: how good they are, how they are made, joined, purified and kept."""
