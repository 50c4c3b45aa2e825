"""Media files: sniff, probe, decode within limits, thumbnail."""
