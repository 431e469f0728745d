"""Accuracy on the user's own data: the task's metric of the source model and of the bundle, and the drop between."""
