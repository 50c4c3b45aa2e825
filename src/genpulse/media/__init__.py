"""Media files: sniff, probe, decode within limits, thumbnail; and the child processes in which that is done."""
