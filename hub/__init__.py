"""The reference system under test: a service that merges the items of GitHub and AI Studio."""
