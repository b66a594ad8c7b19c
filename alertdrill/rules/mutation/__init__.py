"""Mutation testing of alert rules: break them in small ways and see whether a test notices."""
