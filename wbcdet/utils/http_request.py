"""Open http and https addresses, and no other kind."""

from __future__ import annotations

import urllib.request
from email.message import Message
from http.client import HTTPResponse
from typing import IO
from urllib.error import URLError
from urllib.parse import urlsplit


def open_url(request: urllib.request.Request, timeout: float) -> HTTPResponse:
    """Open an http or https request; the proxies of the environment are honoured.

    A redirect is followed to http and https alone, and from https to https alone, so that a server
    cannot choose a less safe way than the user did.

    Raises:
        OSError, ValueError, http.client.HTTPException: as ``urllib.request.urlopen``.
    """
    if urlsplit(request.full_url).scheme.lower() not in ("http", "https"):
        raise ValueError("only http and https addresses are asked")
    answer: HTTPResponse = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = (urlsplit(url).scheme.lower() for url in (req.full_url, newurl))
        if after != "https" and not (before == after == "http"):
            raise URLError(f"the server redirects from {before} to {after or 'nothing'}")
        # Typeshed wants an HTTPMessage, which is what the library hands over.
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
