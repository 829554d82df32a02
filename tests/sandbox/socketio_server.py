"""A page and a Socket.IO server of others behind it, run by the Python of .build/clients: prints its port."""

import socketserver
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import socketio  # type: ignore[import-not-found, import-untyped, unused-ignore]  # in .build/clients only

PAGE = b'<script>var graphistryPath = "/graph";</script>'


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each connection."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Gives the connection away, as simple-websocket expects of Werkzeug's."""

    def get_environ(self) -> dict[str, Any]:
        """What a request comes with."""
        return {**super().get_environ(), "werkzeug.socket": self.connection}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the end."""
    server = socketio.Server(async_mode="threading", cors_allowed_origins="*")

    def connect(sid: str, environ: dict[str, Any]) -> None:
        server.emit("vbo_update", b"a picture", to=sid)

    def operation(sid: str, question: dict[str, Any]) -> None:
        answer = {"kind": "C", "value": {"paths": question["pathSets"]}}
        server.emit(f"falcor-operation-{question['id']}", answer, to=sid)

    server.on("connect", connect)
    server.on("falcor-operation", operation)

    def page(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        return [PAGE]

    application = socketio.WSGIApp(server, page, socketio_path="graph/socket.io")
    with make_server("127.0.0.1", 0, application, Server, Handler) as http:
        print(http.server_port, flush=True)
        http.serve_forever()


if __name__ == "__main__":
    main()
