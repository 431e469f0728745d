"""Onward's runtime: answers from a bundle, without torch or transformers."""
