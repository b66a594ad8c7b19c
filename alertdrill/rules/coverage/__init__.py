"""Coverage: which fault fires which alert, live and in virtual time, and what nothing proves."""
