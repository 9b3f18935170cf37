"""Dashboards as code, and their way into a Grafana. Needs the extra `grafana`; nothing else imports this."""

__all__: list[str] = []
