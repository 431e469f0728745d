"""Graph passes: one file each, `call(model) -> bool` (whether it changed anything)."""
