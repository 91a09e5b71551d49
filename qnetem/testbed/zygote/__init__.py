"""qnetem.testbed.zygote: the single-threaded process that has everything imported and forks the others. Wiring."""
