"""Load from Locust, in a process of its own."""
