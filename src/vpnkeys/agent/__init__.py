"""The agent of a node: a whole server without an API, whose keys are those that a control plane wants it to have."""
