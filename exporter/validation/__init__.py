"""Proves that a bundle answers like its source model."""
