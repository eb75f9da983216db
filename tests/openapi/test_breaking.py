"""Each kind of change that breaks generated clients is named, and no other is."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from breaking import breaking_changes

HERE = Path(__file__).resolve().parent
RELEASED = json.loads((HERE.parents[1] / "openapi" / "released.json").read_text())
CREATE = "POST /v1/uploads"


class BreakingTest(unittest.TestCase):
    def setUp(self):
        self.now = copy.deepcopy(RELEASED)
        self.schemas = self.now["components"]["schemas"]
        self.create = self.now["paths"]["/v1/uploads"]["post"]
        self.list = self.now["paths"]["/v1/uploads"]["get"]

    def test_no_change_is_none(self):
        self.assertEqual(breaking_changes(RELEASED, self.now), [])

    # --- operations ---

    def test_a_removed_operation(self):
        del self.now["paths"]["/v1/files/{fileId}/shares/{subject}"]["delete"]
        self.named("DELETE /v1/files/{fileId}/shares/{subject}: operation removed")

    def test_a_removed_path(self):
        del self.now["paths"]["/v1/files/download-urls"]
        self.named("POST /v1/files/download-urls: operation removed")

    def test_a_renamed_operation(self):
        self.create["operationId"] = "beginUpload"
        self.named(f"{CREATE}: operationId changed from createUpload to beginUpload")

    def test_a_removed_status(self):
        del self.create["responses"]["413"]
        self.named(f"{CREATE} 413: status removed")

    def test_a_new_status_of_success(self):
        self.create["responses"]["202"] = self.create["responses"]["201"]
        self.named(f"{CREATE} 202: new status of success")

    def test_a_removed_header_of_an_answer(self):
        del self.create["responses"]["201"]["headers"]["Location"]
        self.named(f"{CREATE} 201: header Location removed")

    def test_a_removed_media_type(self):
        del self.create["responses"]["400"]["content"]["application/json"]
        self.named(f"{CREATE} 400: application/json removed")

    # --- what clients send ---

    def test_a_new_required_property(self):
        self.request["properties"]["album"] = {"type": "string"}
        self.request["required"].append("album")
        self.named(f"{CREATE} request.album: new required property")

    def test_a_property_made_required(self):
        self.request["required"].append("size")
        self.named(f"{CREATE} request.size: property made required")

    def test_a_removed_property_of_a_request(self):
        del self.request["properties"]["autoComplete"]
        self.named(f"{CREATE} request.autoComplete: property removed")

    def test_a_removed_enum_value(self):
        self.request["properties"]["partChecksum"]["enum"].remove("SHA256")
        self.named(f"{CREATE} request.partChecksum: enum value removed: SHA256")

    def test_a_new_enum(self):
        self.request["properties"]["preset"]["enum"] = ["default"]
        self.named(f"{CREATE} request.preset: narrowed to an enum")

    def test_narrowed_bounds(self):
        self.request["properties"]["filename"] |= {"minLength": 2, "maxLength": 100}
        self.request["properties"]["partSize"]["minimum"] += 1
        self.request["properties"]["contentType"]["maxLength"] = 50
        self.named(
            f"{CREATE} request.filename: minLength narrowed from 1 to 2",
            f"{CREATE} request.filename: maxLength narrowed from 255 to 100",
            f"{CREATE} request.partSize: minimum narrowed from 5242880 to 5242881",
            f"{CREATE} request.contentType: maxLength narrowed from none to 50",
        )

    def test_another_pattern(self):
        self.request["properties"]["fingerprint"]["pattern"] = "^p2-"
        was = RELEASED["components"]["schemas"]["CreateUploadRequest"]["properties"]["fingerprint"]["pattern"]
        self.named(f"{CREATE} request.fingerprint: pattern changed from {was} to ^p2-")

    def test_a_body_made_required(self):
        self.now["paths"]["/v1/uploads/{uploadId}/complete"]["post"]["requestBody"]["required"] = True
        self.named("POST /v1/uploads/{uploadId}/complete request: body made required")

    def test_parameters(self):
        self.list["parameters"] = [one for one in self.list["parameters"] if one["name"] != "owner"]
        for one in self.list["parameters"]:
            one["required"] = one["name"] == "state"
        self.list["parameters"].append({"name": "album", "in": "query", "required": True, "schema": {"type": "string"}})
        self.named(
            "GET /v1/uploads query parameter owner: parameter removed",
            "GET /v1/uploads query parameter state: parameter made required",
            "GET /v1/uploads query parameter album: new required parameter",
        )

    def test_a_narrowed_parameter(self):
        [limit] = [one for one in self.list["parameters"] if one["name"] == "limit"]
        limit["schema"]["maximum"] = 500
        self.named("GET /v1/uploads query parameter limit: maximum narrowed from 1000 to 500")

    # --- what clients receive ---

    def test_a_removed_property_of_an_answer(self):
        del self.upload["properties"]["fingerprint"]
        # Wherever an upload is answered.
        self.named("GET /v1/uploads/{uploadId} 200.fingerprint: property removed", everywhere=True)

    def test_a_property_that_is_no_longer_always_there(self):
        self.upload["required"].remove("key")
        self.named("GET /v1/uploads/{uploadId} 200.key: property no longer always there", everywhere=True)

    def test_a_changed_type(self):
        self.upload["properties"]["size"] = {"type": "string"}
        self.named(
            "GET /v1/uploads 200.items[].size: type changed from integer to string",
            "GET /v1/uploads 200.items[].size: format changed from int64 to none",
            everywhere=True,
        )

    def test_a_changed_format(self):
        self.schemas["PartUrl"]["properties"]["offset"]["format"] = "int32"
        self.named(f"{CREATE} 201.partUrls[].offset: format changed from int64 to int32", everywhere=True)

    def test_a_new_enum_value(self):
        self.upload["properties"]["state"]["enum"].append("paused")
        self.named("GET /v1/uploads/{uploadId} 200.state: enum value added: paused", everywhere=True)

    def test_an_opened_enum(self):
        del self.upload["properties"]["state"]["enum"]
        self.named("GET /v1/uploads/{uploadId} 200.state: enum opened to any value", everywhere=True)

    def test_a_changed_type_within_a_map(self):
        self.schemas["PartUrl"]["properties"]["headers"]["additionalProperties"]["type"] = "integer"
        self.named(f"{CREATE} 201.partUrls[].headers{{}}: type changed from string to integer", everywhere=True)

    # --- what breaks nobody ---

    def test_what_is_added_or_widened_breaks_nobody(self):
        self.now["paths"]["/v1/albums"] = copy.deepcopy(self.now["paths"]["/v1/uploads"])
        self.request["properties"]["album"] = {"type": "string"}
        self.request["properties"]["filename"]["maxLength"] = 1000
        self.request["properties"]["partChecksum"]["enum"].append("XXH3")
        self.upload["properties"]["album"] = {"type": "string"}
        self.upload["required"].append("album")
        self.upload["description"] = "Something else."
        self.create["responses"]["451"] = self.create["responses"]["400"]
        self.list["parameters"].append({"name": "album", "in": "query", "required": False, "schema": {"type": "string"}})
        self.assertEqual(breaking_changes(RELEASED, self.now), [])

    # --- the command ---

    def test_the_command_fails_until_the_version_says_so(self):
        self.schemas["File"]["properties"].pop("owner")
        self.assertEqual(self.run_command(), (1, "GET /v1/files/{fileId} 200.owner: property removed"))
        major, minor, patch = self.now["info"]["version"].split(".")
        self.now["info"]["version"] = f"{major}.{minor}.{int(patch) + 1}"
        self.assertEqual(self.run_command()[0], 1)
        self.now["info"]["version"] = f"{int(major) + 1}.0.0"
        self.assertEqual(self.run_command()[0], 0)

    def run_command(self):
        """Its status, and what it names of one operation."""
        with tempfile.TemporaryDirectory() as folder:
            for name, document in (("released", RELEASED), ("now", self.now)):
                (Path(folder) / name).write_text(json.dumps(document))
            command = [sys.executable, HERE / "breaking.py", "released", "now"]
            ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        named = [line for line in ended.stdout.splitlines() if line.startswith("GET /v1/files/{fileId} ")]
        return ended.returncode, "\n".join(named)

    # --- the parts of these tests ---

    @property
    def request(self):
        return self.schemas["CreateUploadRequest"]

    @property
    def upload(self):
        return self.schemas["Upload"]

    def named(self, *changes, everywhere=False):
        """These changes are named, and no others but the same elsewhere."""
        found = breaking_changes(RELEASED, self.now)
        self.assertEqual(set(changes) - set(found), set(), found)
        if everywhere:
            self.assertEqual({what.split(": ")[1] for what in found}, {what.split(": ")[1] for what in changes})
        else:
            self.assertEqual(len(found), len(changes), found)


if __name__ == "__main__":
    unittest.main()
