"""How fast it is, next to what else one could take. Scripts, not tests: each prints a table and says of each target
whether it was met. `make bench` runs all; nothing here is shipped."""
