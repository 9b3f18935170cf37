"""The same packages behind other servers. Each file is one server's program and runs in that server's environment,
where nothing of Serinus is installed."""
