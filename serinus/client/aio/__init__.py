"""The client that awaits: the source of both kinds. `serinus.client.blocking` is made from it by `twin`; edit here."""

__all__: list[str] = []
