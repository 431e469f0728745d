"""Measurements against the peers: ratios taken in one run, never timed tests."""
