"""Serinus: registry and rollout controller for multi-task models.

This package holds the words that every room shares (tasks, SLA, package, routes, records, evidence, rollouts,
errors) and what people import or type: `serinus.client`, `serinus.cli`, `serinus.training`. It never imports a room.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
