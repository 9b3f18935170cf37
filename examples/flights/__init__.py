"""Real flights with real delays: data, features, labels, three models and an SLA. Decides nothing."""
