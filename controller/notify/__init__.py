"""Telling people: written down with what it tells of, delivered later, in the way of nothing."""
