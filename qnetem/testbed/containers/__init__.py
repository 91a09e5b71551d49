"""qnetem.testbed.containers: a testbed as containers: networks, files, and what runs in them."""
