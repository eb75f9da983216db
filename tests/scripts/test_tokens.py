"""The examples that mint tokens, against a service that takes them.

Needs PARTITA_BIN, the path of the binary, and Node.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from service import TIMEOUT_SECONDS, Service, exchange

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMMANDS = {
    "mint-token.mjs": ["node", str(EXAMPLES / "mint-token.mjs")],
    "mint_token.py": [sys.executable, str(EXAMPLES / "mint_token.py")],
}


class TokenTest(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="partita-scripts-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.secret_file = self.write_secret("secret")
        self.settings = {
            "PARTITA_AUTH_JWT_SECRET_FILE": str(self.secret_file),
            "PARTITA_AUTH_JWT_ISSUER": "https://app.example.com",
            "PARTITA_AUTH_JWT_AUDIENCE": "partita",
        }
        self.service = Service(self.directory, self.settings | {"PARTITA_AUTH_JWT_ALGORITHM": "HS256"})
        # Tokens name presets; one that is not there could not be used by anybody.
        (self.directory / "partita.toml").write_text("[preset.photos]\nmax_size = 1000\n")
        self.addCleanup(self.service.kill)
        self.service.start()

    def test_a_minted_token_is_accepted(self):
        for example in COMMANDS:
            with self.subTest(example):
                token = self.mint(example, "alice")
                self.assertEqual(self.list_uploads(token)[0], 200)
                status, created = self.create(token, {"filename": "a.txt", "size": 1})
                self.assertEqual((status, created["upload"]["owner"]), (201, "alice"))
                self.assertEqual(self.list_uploads(self.mint(example, "bob"))[1]["items"], [], "what is another's")

    def test_a_token_says_what_it_is_good_for(self):
        for example in COMMANDS:
            with self.subTest(example):
                reader = self.mint(example, "alice", "--scope=files:read")
                status, problem = self.list_uploads(reader)
                self.assertEqual((status, problem["code"]), (403, "insufficient-scope"))
                bound = self.mint(example, "alice", "--preset=photos")
                self.assertEqual(self.create(bound, {"filename": "a.txt", "size": 1, "preset": "photos"})[0], 201)
                status, problem = self.create(bound, {"filename": "a.txt", "size": 1, "preset": "default"})
                self.assertEqual((status, problem["code"]), (404, "preset-not-found"))

    def test_a_token_of_another_secret_is_refused(self):
        another = self.write_secret("another")
        for example in COMMANDS:
            with self.subTest(example):
                token = self.mint(example, "alice", f"--secret-file={another}")
                status, problem = self.list_uploads(token)
                self.assertEqual((status, problem["code"]), (401, "invalid-token"))

    def test_a_token_that_has_expired_is_refused(self):
        for example in COMMANDS:
            with self.subTest(example):
                # By more than the clocks may differ.
                token = self.mint(example, "alice", "--ttl=-60")
                status, problem = self.list_uploads(token)
                self.assertEqual((status, problem["code"]), (401, "invalid-token"))
                self.assertIn("expired", problem["detail"])

    def write_secret(self, name):
        file = self.directory / name
        # The service takes no secret that everybody can read; the newline is what an editor leaves.
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32) + "\n")
        return file

    def mint(self, example, *arguments):
        environment = {"PATH": os.environ["PATH"]} | self.settings
        command = [*COMMANDS[example], *arguments]
        run = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_SECONDS
        )
        return run.stdout.strip()

    def list_uploads(self, token):
        return self.call("GET", "/v1/uploads", token)

    def create(self, token, body):
        return self.call("POST", "/v1/uploads", token, body)

    def call(self, method, path, token, body=None):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        status, _, answer = exchange(method, self.service.url + path, data, headers)
        return status, json.loads(answer)


if __name__ == "__main__":
    unittest.main()
