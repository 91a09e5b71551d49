"""qnetem.testbed.measuring: what a running link does, counted, against what it is configured to do."""
