"""The monitors: two logs in, evidence out.

They read the prediction and label logs, join them by id once the labels are mature, keep mergeable histograms and sums
by cell, and say at every tick of event time what is known about a candidate. They speak to the controller by one call
(`POST /v1/monitor/exchange`) and to nobody else.

This room never routes HTTP, speaks SQL, knows of Kubernetes, changes a log, or decides about a rollout. Its statistics
(`sequential`, `rates`, `bins`, `groupings`, `accumulators`, `metrics`, `join`, `assess`) use no clock, no randomness
and no I/O; only `log`, `checkpoint` and `monitor` touch the world.
"""
