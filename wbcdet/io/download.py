"""Download one picture from the web into memory."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from wbcdet.io.errors import FieldError
from wbcdet.settings import Settings
from wbcdet.utils.http_request import open_url

_CHUNK = 1 << 16
#: A whole download may take this many times the time without an answer.
_PATIENCE = 20


def download(url: str, settings: Settings, allowed: Callable[[str], bool] | None = None) -> bytes:
    """Return the bytes behind an http(s) URL; the proxies of the environment are honoured.

    Args:
        url: the address.
        settings: limits of size and time.
        allowed: says of each address that a redirect leads to whether it may be asked.

    Raises:
        FieldError: no answer, an error status, a web page, too large, or cut short.
    """
    limit, timeout = settings.max_download_bytes, settings.http_timeout_s
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "wbcdet"})
        with open_url(request, timeout, allowed) as answer:
            if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
                raise FieldError("URL leads to a web page; give the address of the picture itself")
            expected = int(answer.headers.get("Content-Length") or -1)
            if expected > limit:
                raise FieldError(_too_large(limit))
            data = _read(answer, limit, time.monotonic() + _PATIENCE * timeout)
    except urllib.error.HTTPError as error:
        raise FieldError(f"server answered {error.code} {error.reason}; check the URL") from error
    except TimeoutError as error:
        raise FieldError(f"no answer within {timeout:g} s; try again later") from error
    except urllib.error.URLError as error:
        raise FieldError(f"download failed ({error.reason}); check URL and network") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FieldError(f"download failed ({error}); check URL and network") from error
    if 0 <= expected != len(data):
        raise FieldError(f"download was cut short ({len(data)} of {expected} bytes); try again")
    return data


def _read(answer: http.client.HTTPResponse, limit: int, deadline: float) -> bytes:
    data = bytearray()
    while chunk := answer.read(_CHUNK):
        data += chunk
        if len(data) > limit:
            raise FieldError(_too_large(limit))
        if time.monotonic() > deadline:
            raise FieldError("download is too slow; fetch the file by other means")
    return bytes(data)


def _too_large(limit: int) -> str:
    return f"download is over the limit of {limit / 1e6:.0f} MB; fetch and scale it down first"
