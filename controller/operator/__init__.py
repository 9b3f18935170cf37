"""Kubernetes: a pool as the manifests of a Ray cluster. Nothing applies them by itself yet."""
