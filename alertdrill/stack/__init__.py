"""Starts, watches and removes a stack of containers."""
