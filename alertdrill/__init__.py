"""A release gate for observability: breaks a real system and proves that its alerts say so."""
