"""Rollouts by the hundred, simulated and on real flights: how often the monitors are wrong, and how soon right.

`make simulate`, or `python -m benchmarks.simulations [SUITE ...]`. Nothing else imports this package but tests.
"""
