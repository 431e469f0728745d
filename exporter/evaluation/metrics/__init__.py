"""Metrics, all in points of 100 but perplexity: plain functions from predictions and golds to a number."""
