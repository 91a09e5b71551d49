"""qnetem.runtime: what every process stands on (errors, rpc, lifecycle, clock, chance, identity, telemetry)."""
