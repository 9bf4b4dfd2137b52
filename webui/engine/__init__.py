"""The engine: models in memory, passes driven in lockstep, and the child process that keeps crashes off the page."""
