"""A running service, and plain HTTP calls to it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.parse

TIMEOUT_SECONDS = 60


def exchange(method, url, body=None, headers=None):
    """One request, with these headers and none that a library thinks of; redirects are not followed.

    Returns the status, the headers and the body.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, urllib.parse.urlunsplit(("", "", parts.path, parts.query, "")), body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The binary with little configured but where it listens and keeps its data: embedded S3, SQLite."""

    def __init__(self, directory, settings=None):
        self.directory = directory
        listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{listen}"
        # Not our own environment: AWS_* and PARTITA_* of the caller would configure it.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PARTITA_LISTEN": listen,
            "PARTITA_DATA_DIR": str(directory / "data"),
            "PARTITA_EMBEDDED_S3_LISTEN": f"127.0.0.1:{free_port()}",
            **(settings or {}),
        }
        self.process = None

    def start(self):
        with open(self.directory / "service.log", "ab") as log:
            self.process = subprocess.Popen(
                [os.environ["PARTITA_BIN"]],
                env=self.environment,
                # A partita.toml in the working directory would be read.
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if exchange("GET", f"{self.url}/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the service is not ready; its log:\n{self.log()}")

    def log(self):
        """The end of what it wrote."""
        return (self.directory / "service.log").read_text()[-4000:]

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def call(self, method, path, body=None, expected=(200,), key=None):
        """A call to the API: the answer's JSON, or None where there is no body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        status, _, answer = exchange(method, self.url + path, data, headers)
        assert status in expected, f"{method} {path}: {status} {answer.decode(errors='replace')[:2000]}"
        return json.loads(answer) if answer else None

    def wait_until_completed(self, upload_id):
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            upload = self.call("GET", f"/v1/uploads/{upload_id}")
            if upload["state"] == "completed":
                return upload
            time.sleep(0.25)
        raise AssertionError(f"not completed after {TIMEOUT_SECONDS} s: {upload}")

    def download(self, file_id):
        status, headers, _ = exchange("GET", f"{self.url}/v1/files/{file_id}/download")
        assert status == 302, f"download: {status}"
        status, _, body = exchange("GET", headers["Location"])
        assert status == 200, f"GET of the redirect's target: {status}"
        return body
