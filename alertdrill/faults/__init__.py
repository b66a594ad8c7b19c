"""The faults: one contract, one class each."""
