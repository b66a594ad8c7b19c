"""Trip points: the least of a fault at which an alert fires, live and on recorded faults."""
