"""qnetem.v1: code generated from proto/qnetem/v1 by `make proto`. Never edited."""
