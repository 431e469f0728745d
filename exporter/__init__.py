"""Onward's exporter: a checkpoint becomes a verified bundle."""
