"""node.devices: what stands at the ends of a quantum link, and knows only what it would know."""
