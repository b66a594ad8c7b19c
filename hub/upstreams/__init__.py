"""Stubs of the two upstream APIs: shaped like the real ones, fed from a seed, without faults."""
