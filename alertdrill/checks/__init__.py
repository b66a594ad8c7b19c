"""What a drill asserts beside its alerts: health, clients, counters, data, logs, traces, calm."""
