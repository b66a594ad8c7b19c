"""Replay: the untouched rules over recorded signals, in virtual time."""
