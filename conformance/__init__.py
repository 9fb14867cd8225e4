"""Real clients and public suites against the real server; `make conformance` runs them all."""
