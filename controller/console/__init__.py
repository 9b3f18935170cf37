"""The console: pages made by the controller. They read as the API's handlers do and write through these; no SQL of
their own changes a rollout, a version or a model."""
