"""Where alerts go: the project's routes, grouping and inhibition, asked of a real Alertmanager."""
