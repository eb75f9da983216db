"""What a script may rely on: plain HTTP calls to the service as it comes, each test with a service of its own.

Needs PARTITA_BIN, the path of the binary, and curl.
"""

import hashlib
import http.client
import random
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse
from pathlib import Path

from service import TIMEOUT_SECONDS, Service, exchange

MIB = 1024 * 1024


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
