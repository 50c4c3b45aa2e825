"""The behaviour matrix: GenPulse put through the probes that eight queue engines went through (ADR 0003).

`python -m bench.queue_matrix [--database sqlite|postgresql] [probe ...]` starts real gateways, workers, a real Valkey
and a real PostgreSQL, breaks them in the ways the table names and counts from outside, in a file the handlers append
to, what was started and ended. Promises a bounded time and that nothing it started is left behind.
"""
