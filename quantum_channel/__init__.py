"""quantum_channel: the process that stands for nature on quantum links."""
