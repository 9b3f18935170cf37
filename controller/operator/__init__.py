"""Kubernetes: resources become calls of the controller's API, and pools become Ray clusters."""
