"""Fetches an image from the web: http and https only, bounded in size and time."""

from __future__ import annotations

import time
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from runtime.errors import InputError

MAX_BYTES = 64 << 20
TIMEOUT = 60.0  # seconds, where the caller sets none: HF would wait for ever
CHUNK = 1 << 16


def download(url: str, timeout: float | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The content behind `url`, redirects followed.

    timeout: seconds for the whole of it. Raises `InputError` when it cannot be had, is too large or takes too long.
    """
    limit = TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + limit
    request = urllib.request.Request(url, headers={"User-Agent": "onward"})
    try:
        with _opener().open(request, timeout=limit) as answer:
            return _read(answer, url, max_bytes, deadline)
    except HTTPError as error:
        raise InputError(f"{url} answered {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise InputError(f"{url} took longer than {limit:g} s: pass a longer timeout") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise InputError(f"{url} took longer than {limit:g} s: pass a longer timeout") from error
        raise InputError(f"{url} cannot be fetched: {' '.join(str(reason).split())}") from error


def _read(answer: object, url: str, max_bytes: int, deadline: float) -> bytes:
    content = bytearray()
    while chunk := answer.read(CHUNK):  # type: ignore[attr-defined]
        content += chunk
        if len(content) > max_bytes:
            raise InputError(f"{url} is larger than {max_bytes >> 20} MiB: download it, then give the file")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)


def _opener() -> urllib.request.OpenerDirector:
    """Without urllib's handlers for ftp:, file: and data:, where a redirect could lead."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
