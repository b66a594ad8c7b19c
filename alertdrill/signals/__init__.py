"""What a system says of itself: metrics, alerts, notifications, traces, logs."""
