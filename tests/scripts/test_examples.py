"""The scripts of `examples/` that upload a file: killed half-way, on a bad network, with a wrong file.

Needs PARTITA_BIN, the path of the binary, and bash, curl, jq and Node.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from proxy import Proxy
from service import TIMEOUT_SECONDS, Service

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Eight parts, as the service plans them.
SIZE = 61_234_567
PART_COUNT = 8


class OfEachScript:
    """The promises that each script keeps, in whatever language it is written."""

    command = None
    service = None

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="partita-examples-"))
        self.addCleanup(shutil.rmtree, self.directory)
        # The S3 is the embedded one of another process, so that the URLs of parts can lead over a proxy.
        store = self.start_service("store", {"PARTITA_EMBEDDED_S3_ACCESS_KEY": "AK", "PARTITA_EMBEDDED_S3_SECRET_KEY": "SK"})
        s3_url = f"http://{store.environment['PARTITA_EMBEDDED_S3_LISTEN']}"
        self.s3 = self.start_proxy(s3_url)
        self.settings = {
            "PARTITA_S3_BUCKET": "partita",
            "PARTITA_S3_ENDPOINT": s3_url,
            "PARTITA_S3_PUBLIC_ENDPOINT": self.s3.url,
            "PARTITA_S3_PATH_STYLE": "true",
            "PARTITA_INSECURE_NO_AUTH": "true",
            "PARTITA_S3_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
        }
        self.use_service({})
        self.file = self.directory / "holiday, 2026 \"1\".mov"
        self.data = random.randbytes(SIZE)
        self.file.write_bytes(self.data)

    def test_a_killed_upload_goes_on_with_what_is_missing(self):
        self.kill_half_way()
        [upload] = self.uploads()
        sent = self.s3.parts()
        self.assertEqual(len(sent), PART_COUNT // 2)

        self.s3.forget()
        upload_id = self.run_script(self.file)
        self.assertEqual(upload_id, upload["id"], "the same upload")
        self.assertEqual(sorted(self.s3.parts() + sent), list(range(1, PART_COUNT + 1)), "each part once, over both runs")
        self.assert_is_uploaded(upload_id)
        self.assertEqual(len(self.uploads()), 1)
        self.assertGreater(self.s3.most_at_once, 1, "parts are sent in parallel")

    def test_faults_that_pass_are_waited_out(self):
        self.use_service({"PARTITA_PART_URL_TTL": "2s"})
        # The creation's answer is lost, though it took effect; the next two calls that change something find no time.
        self.api.fail_next("POST", "lost", 503, None, 429)
        # An S3 that has no time, a cut connection, and a part that comes so late that S3 finds its URL expired.
        self.s3.fail_next("PUT", 503, "cut", 3.5)
        upload_id = self.run_script(self.file)
        self.assertIn(403, [status for _, _, status in self.s3.answered], "one URL had expired")
        self.assert_is_uploaded(upload_id)
        self.assertEqual(len(self.uploads()), 1, "a repeated creation creates nothing")
        self.assertEqual(sorted(self.s3.parts()), list(range(1, PART_COUNT + 1)))

    def test_a_small_and_an_empty_file_are_uploaded(self):
        for data in (b"", b"x", random.randbytes(3 * 1024 * 1024 + 1)):
            self.data = data
            self.file.write_bytes(data)
            self.assert_is_uploaded(self.run_script(self.file))

    def test_the_token_is_sent(self):
        self.use_service({"PARTITA_INSECURE_NO_AUTH": "false"})
        refused = self.start(self.file)
        _, told = refused.communicate(timeout=TIMEOUT_SECONDS)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("unauthenticated", told)

        command = [os.environ["PARTITA_BIN"], "keys", "create", "--owner", "alice", "--scope", "uploads:write"]
        token = subprocess.check_output(
            command, env=self.service.environment, cwd=self.service.directory, stderr=subprocess.DEVNULL, text=True
        ).strip()
        upload_id = self.run_script(self.file, token=token)
        self.assertEqual(self.service.call("GET", f"/v1/uploads/{upload_id}", key=token)["state"], "completed")

    def test_it_is_short(self):
        lines = Path(self.command[-1]).read_text().splitlines()
        self.assertLess(len(lines), 100)
        self.assertLessEqual(max(map(len, lines)), 125)

    # --- the parts of these tests ---

    def start_service(self, name, settings):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        service = Service(directory, settings)
        self.addCleanup(service.kill)
        service.start()
        return service

    def start_proxy(self, target):
        proxy = Proxy(target)
        self.addCleanup(proxy.close)
        return proxy

    def use_service(self, settings):
        if self.service is not None:
            self.service.kill()
        self.service = self.start_service("service", self.settings | settings)
        self.api = self.start_proxy(self.service.url)

    def start(self, *arguments, token=None):
        environment = {"PATH": os.environ["PATH"], "PARTITA_SERVER": self.api.url}
        if token is not None:
            environment["PARTITA_TOKEN"] = token
        # A group of its own, so that all of it can be killed.
        process = subprocess.Popen(
            [*self.command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(self.kill, process)
        return process

    def kill(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def run_script(self, *arguments, token=None):
        """What it prints: the upload's id."""
        process = self.start(*arguments, token=token)
        printed, told = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(process.returncode, 0, told)
        return printed.strip()

    def refused(self, *arguments):
        """What it tells when it fails."""
        process = self.start(*arguments)
        printed, told = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assertNotEqual(process.returncode, 0, printed)
        return told

    def kill_half_way(self):
        self.s3.hold_after(PART_COUNT // 2)
        process = self.start(self.file)
        # As many as each script sends at once.
        self.s3.wait_until_held(4, TIMEOUT_SECONDS)
        self.kill(process)
        process.communicate()
        self.s3.release()

    def uploads(self):
        return self.service.call("GET", "/v1/uploads")["items"]

    def assert_is_uploaded(self, upload_id):
        upload = self.service.call("GET", f"/v1/uploads/{upload_id}")
        self.assertEqual((upload["state"], upload["filename"]), ("completed", self.file.name))
        downloaded = self.service.download(upload_id)
        self.assertEqual(hashlib.sha256(downloaded).hexdigest(), hashlib.sha256(self.data).hexdigest())


class OfEachScriptWithAFingerprint(OfEachScript):
    """Of those that find an upload by the contract's fingerprint, or are told its id."""

    def test_an_id_will_do(self):
        self.kill_half_way()
        [upload] = self.uploads()
        self.assertEqual(self.run_script(self.file, upload["id"]), upload["id"])
        self.assert_is_uploaded(upload["id"])

    def test_an_upload_that_another_client_began_is_found(self):
        self.kill_half_way()
        [upload] = self.uploads()
        [self.command] = {TestPython.command, TestNode.command} - {self.command}
        self.assertEqual(self.run_script(self.file), upload["id"])

    def test_the_fingerprint_is_the_contracts(self):
        self.file.write_bytes(b"123456789")
        self.run_script(self.file)
        # CRC-64/NVME's check value.
        self.assertEqual(self.uploads()[0]["fingerprint"], "p1-9-ae8b14860a799888")

    def test_a_different_file_is_refused(self):
        self.kill_half_way()
        [upload] = self.uploads()
        self.s3.forget()
        self.file.write_bytes(self.data[:-1] + bytes([self.data[-1] ^ 1]))
        self.assertIn("is of a different file", self.refused(self.file, upload["id"]))
        self.assertEqual(self.s3.answered, [])
        self.assertEqual(self.uploads(), [upload])

    def test_a_problem_is_told(self):
        self.assertIn("upload-not-found", self.refused(self.file, "01998f4e-7a10-7cc3-98c4-dc0c0c07398f"))


class TestPython(OfEachScriptWithAFingerprint, unittest.TestCase):
    command = (sys.executable, str(EXAMPLES / "upload.py"))


class TestNode(OfEachScriptWithAFingerprint, unittest.TestCase):
    command = ("node", str(EXAMPLES / "upload.mjs"))


class TestBash(OfEachScript, unittest.TestCase):
    command = ("bash", str(EXAMPLES / "upload.sh"))

    def test_a_different_file_is_refused(self):
        self.kill_half_way()
        [upload] = self.uploads()
        self.s3.forget()
        self.file.write_bytes(self.data + b"?")
        self.assertIn("is a different file", self.refused(self.file))
        self.file.write_bytes(self.data)
        os.utime(self.file, (0, 0))
        self.assertIn("is a different file", self.refused(self.file))
        self.assertEqual(self.s3.answered, [])
        self.assertEqual(self.uploads(), [upload])


if __name__ == "__main__":
    unittest.main()
