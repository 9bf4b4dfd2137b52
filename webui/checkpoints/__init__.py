"""Model files: what lies there, what it is, and how it becomes modules."""
