"""The controller: registry of models and versions, rollout decisions, route tables, and the API over them.

It is the only room that talks to the database. It never touches a tensor or a log: packages are inspected by a child
process, evidence comes from the monitors, and replicas fetch their route tables themselves.
"""
