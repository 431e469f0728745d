"""Scripts that train the checkpoints of this folder; each runs with ``python -m``."""
