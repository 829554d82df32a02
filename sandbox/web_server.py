"""How the sandbox serves HTTP: in the background of its process, a thread per connection."""

from __future__ import annotations

import threading
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class Handler(WSGIRequestHandler):
    """Keeps connections open, which halves the time of a call."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the log is for what went wrong."""

    def send_header(self, keyword: str, value: str) -> None:
        """The date that an application gives takes the place of the server's."""
        if keyword == "Date":
            sent = self._headers_buffer
            sent[:] = [each for each in sent if not each.startswith(b"Date:")]
        super().send_header(keyword, value)


def serve(
    application: Any, address: str, port: int, descriptor: int | None = None
) -> BaseWSGIServer:
    """Start to serve a WSGI application on an address, or on a listening socket that is there."""
    server = make_server(
        address, port, application, threaded=True, request_handler=Handler, fd=descriptor
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
