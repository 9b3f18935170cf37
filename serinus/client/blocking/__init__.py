"""The client that blocks, made from its twin that awaits."""

__all__: list[str] = []
