"""A hop between a client and a server of HTTP, at which things go wrong: what it forwards is real, and so is what it refuses."""

import http.client
import re
import threading
import time
import urllib.parse
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What ends at the next hop, or is the server's own to say.
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "date", "server", "expect"}


class Proxy:
    """Forwards to `target`; remembers each request, and what was answered to it."""

    def __init__(self, target):
        self.target = urllib.parse.urlsplit(target).netloc
        self.answered = []
        self.most_at_once = 0
        self._now = 0
        self._held = 0
        self._faults = {}
        self._holds_after = None
        self._changed = threading.Condition()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    # The client has gone away, which is what these tests are about.
                    self.close_connection = True

            def answer(self):
                proxy._serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.release()
        self._server.shutdown()
        self._server.server_close()

    # --- what goes wrong ---

    def fail_next(self, method, *faults):
        """What happens to the next requests of this method, one fault each: a status that is answered; "cut", the connection
        is before anything is forwarded; "lost", the answer is; seconds (a float) that pass before it is forwarded; None."""
        self._faults[method] = deque(faults)

    def hold_after(self, count):
        """Lets `count` requests pass, and holds all others until `release`, which drops them."""
        self._holds_after = count

    def release(self):
        with self._changed:
            self._holds_after = None
            self._changed.notify_all()

    def wait_until_held(self, count, timeout):
        """Until as many requests are held, and nothing else is under way."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self._held == self._now == count, timeout)
        assert reached, f"{self._held} of {self._now} requests are held, not {count}"

    def parts(self, *, status=200):
        """The numbers of the parts that were answered so, as they came."""
        numbers = [(re.search(r"[?&]partNumber=(\d+)", path), got) for _, path, got in self.answered]
        return [int(number[1]) for number, got in numbers if number and got == status]

    def forget(self):
        self.answered.clear()

    # --- serving ---

    def _serve(self, request):
        with self._changed:
            faults = self._faults.get(request.command)
            fault = faults.popleft() if faults else None
            begun = len(self.answered) + self._now
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            held = self._holds_after is not None and begun >= self._holds_after
            self._held += held
            self._changed.notify_all()
            if held:
                self._changed.wait_for(lambda: self._holds_after is None)
        status = None
        try:
            if held or fault == "cut":
                raise ConnectionAbortedError
            body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
            if isinstance(fault, float):
                time.sleep(fault)
            if isinstance(fault, int):
                status, headers, answer = fault, [], b""
            else:
                status, headers, answer = self._forward(request, body)
            if fault == "lost":
                status = None
                raise ConnectionAbortedError
            request.send_response_only(status)
            for name, value in headers:
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        finally:
            with self._changed:
                self._now -= 1
                self._held -= held
                if not held:
                    self.answered.append((request.command, request.path, status))
                self._changed.notify_all()

    def _forward(self, request, body):
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            # Host, too: it is signed.
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in HOP_HEADERS or name.lower() == "content-length":
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            headers = [(name, value) for name, value in response.headers.items() if name.lower() not in HOP_HEADERS]
            return response.status, headers, response.read()
        finally:
            connection.close()
