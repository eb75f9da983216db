"""What a script may rely on: plain HTTP calls to the service as it comes, each test with a service of its own.

Needs PARTITA_BIN, the path of the binary, and curl.
"""

import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.parse
from pathlib import Path

MIB = 1024 * 1024
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


def put_part(part_url, data):
    """Sends one part with exactly the headers that its URL asks for."""
    assert len(data) == part_url["size"], f"{len(data)} bytes for a part of {part_url['size']}"
    status, _, body = exchange(part_url["method"], part_url["url"], data, part_url["headers"])
    assert status == 200, f"part {part_url['partNumber']}: {status} {body[:500]!r}"


def put_half_of_a_part(part_url, data):
    """Begins to send a part, and vanishes in the middle."""
    parts = urllib.parse.urlsplit(part_url["url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    connection.putrequest(part_url["method"], f"{parts.path}?{parts.query}")
    for name, value in part_url["headers"].items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[: len(data) // 2])
    connection.close()


def slice_of(data, part_url):
    return data[part_url["offset"] : part_url["offset"] + part_url["size"]]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The binary with nothing configured but where it listens and keeps its data: embedded S3, SQLite."""

    def __init__(self, directory):
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
        raise AssertionError(f"the service is not ready; its log:\n{(self.directory / 'service.log').read_text()[-4000:]}")

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def call(self, method, path, body=None, expected=(200,)):
        """A call to the API: the answer's JSON, or None where there is no body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
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


class ScriptTest(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="partita-scripts-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.service = Service(self.directory)
        self.addCleanup(self.service.kill)
        self.service.start()

    def test_an_interrupted_upload_goes_on_with_nothing_but_its_id(self):
        data = random.randbytes(40_000_000)
        created = self.service.call(
            "POST", "/v1/uploads", {"filename": "backup.tar", "size": len(data), "partSize": 8 * MIB}, expected=(201,)
        )
        self.assertEqual(created["upload"]["partCount"], 5)
        self.assertEqual(created["upload"]["missingParts"], "1-5")
        for part_url in created["partUrls"][:2]:
            put_part(part_url, slice_of(data, part_url))
        put_half_of_a_part(created["partUrls"][2], slice_of(data, created["partUrls"][2]))

        # The script dies, and so does the service. What the script wrote down is the upload's id.
        upload_id = created["upload"]["id"]
        del created, part_url
        self.service.kill()
        self.service.start()

        synced = self.service.call("POST", f"/v1/uploads/{upload_id}/sync")
        self.assertEqual(synced["state"], "open")
        self.assertEqual(synced["missingParts"], "3-5")
        signed = self.service.call("POST", f"/v1/uploads/{upload_id}/part-urls", {"parts": synced["missingParts"]})
        self.assertEqual([part_url["partNumber"] for part_url in signed["partUrls"]], [3, 4, 5])
        for part_url in signed["partUrls"]:
            put_part(part_url, slice_of(data, part_url))

        # No ETag was ever recorded by this script.
        self.service.call("POST", f"/v1/uploads/{upload_id}/complete", expected=(200, 202))
        upload = self.service.wait_until_completed(upload_id)
        self.assertEqual(upload["object"]["size"], len(data))
        self.assertEqual(sha256(self.service.download(upload_id)), sha256(data))

    def test_one_put_by_curl_is_a_whole_upload(self):
        data = random.randbytes(6_000_000)
        file = self.directory / "photo.jpg"
        file.write_bytes(data)
        created = self.service.call(
            "POST",
            "/v1/uploads",
            {"filename": file.name, "size": len(data), "partSize": 8 * MIB, "autoComplete": True},
            expected=(201,),
        )
        [part_url] = created["partUrls"]
        self.assertEqual(part_url["headers"], {}, "a link for curl asks for no header")
        self.curl("-T", file, part_url["url"])

        upload = self.service.wait_until_completed(created["upload"]["id"])
        self.assertEqual(upload["object"]["size"], len(data))
        copy = self.directory / "copy.jpg"
        self.curl("--location", "--output", copy, f"{self.service.url}/v1/files/{upload['id']}/download")
        self.assertEqual(sha256(copy.read_bytes()), sha256(data))

    def test_a_stream_of_unknown_size_is_uploaded_part_by_part(self):
        part_size = 5 * MIB
        data = random.randbytes(2 * part_size + 1_234_567)
        created = self.service.call("POST", "/v1/uploads", {"filename": "dump.sql", "partSize": part_size}, expected=(201,))
        upload = created["upload"]
        self.assertEqual(created.get("partUrls", []), [])
        for absent in ("size", "partCount", "missingParts"):
            self.assertNotIn(absent, upload)

        part_urls = f"/v1/uploads/{upload['id']}/part-urls"
        for number, offset in enumerate(range(0, len(data), part_size), start=1):
            chunk = data[offset : offset + part_size]
            if len(chunk) == part_size:
                wanted = {"parts": str(number)}
            else:
                # The stream has ended: only now is the size of the last part known.
                wanted = {"items": [{"partNumber": number, "size": len(chunk)}]}
            [part_url] = self.service.call("POST", part_urls, wanted)["partUrls"]
            self.assertEqual((part_url["partNumber"], part_url["offset"]), (number, offset))
            put_part(part_url, chunk)

        self.service.call("POST", f"/v1/uploads/{upload['id']}/complete", {"size": len(data)}, expected=(200, 202))
        upload = self.service.wait_until_completed(upload["id"])
        self.assertEqual(upload["size"], len(data))
        self.assertEqual(sha256(self.service.download(upload["id"])), sha256(data))

    def curl(self, *arguments):
        subprocess.run(
            ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *arguments], check=True, timeout=TIMEOUT_SECONDS
        )


if __name__ == "__main__":
    unittest.main()
