"""Revisions of the schema; applied in order at every start of the controller."""
