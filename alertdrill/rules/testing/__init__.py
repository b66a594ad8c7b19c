"""promtool's test files: found, read with positions, run in batches, shown as pytest items."""
