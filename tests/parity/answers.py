"""Compares answers with HF's: same nesting, same keys in the same order, same types; scores within a tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np

TOLERANCE = 1e-4


def assert_same(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """Raises AssertionError at the first difference."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, list):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key], tolerance)
    elif isinstance(expected, (float, np.floating)):
        assert abs(found - expected) <= tolerance, (found, expected)
    else:
        assert found == expected
