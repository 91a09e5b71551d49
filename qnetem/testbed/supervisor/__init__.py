"""qnetem.testbed.supervisor: the process that owns all processes of a testbed."""
