"""Measures GenPulse as a user runs it: real processes, real databases, over HTTP. See `python -m bench --help`."""
