"""Examples on real data."""
