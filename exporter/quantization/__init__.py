"""Quantisation of graphs: weights become 8 or 4 bit integers, one at a time, while the bundle is written."""
