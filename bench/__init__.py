"""Measurements that can be run again; nothing of them is installed."""
