"""Kubernetes: resources of a namespace, brought about through the controller's API; and pools as Ray clusters."""
