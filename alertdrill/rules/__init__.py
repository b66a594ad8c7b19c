"""Alert rules: read, compress, reason about."""
