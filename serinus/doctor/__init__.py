"""What is wrong with a Serinus that runs, and what to do next. Judging is pure; asking and looking are elsewhere."""

from __future__ import annotations

from serinus.doctor.finding import Finding
from serinus.doctor.visit import Visit, visit

__all__ = ["Finding", "Visit", "visit"]
