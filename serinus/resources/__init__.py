"""What a platform team writes down, as YAML that works in a cluster and without one: pools, models, rollouts."""

__all__: list[str] = []
