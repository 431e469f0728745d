"""Work for several clients goes on while one of them is there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from runtime.errors import CancelledError
from runtime.generation.cancellation import check_cancelled
from runtime.triton.cancellation import CancellationWatch, while_wanted


class Request:
    """As Triton's: asked from another thread whether its client is gone."""

    def __init__(self) -> None:
        self.gone = False
        self.asked = 0

    def is_cancelled(self) -> bool:
        self.asked += 1
        return self.gone


@pytest.fixture
def watch() -> Iterator[CancellationWatch]:
    watching = CancellationWatch()
    yield watching
    watching.close()


def work(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check_cancelled()
        time.sleep(0.001)


def test_it_ends_when_all_clients_are_gone(watch: CancellationWatch) -> None:
    requests = [Request(), Request()]
    with pytest.raises(CancelledError), while_wanted(watch, requests):
        requests[0].gone = True
        work(0.1)  # one is still there
        requests[1].gone = True
        work(30)


def test_nobody_is_asked_afterwards(watch: CancellationWatch) -> None:
    request = Request()
    with while_wanted(watch, [request]):
        work(0.1)
    asked, request.gone = request.asked, True
    assert asked > 0
    work(0.1)
    assert request.asked == asked
