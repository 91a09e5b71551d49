"""qnetem.testbed: launching a topology as real processes, and the supervisor that owns them."""
