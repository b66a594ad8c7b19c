"""What the project promises in figures, measured: one module each, run with ``python -m``."""
