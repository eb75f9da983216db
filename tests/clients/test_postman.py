"""The Postman collection is the document's, and one that Postman reads.

Needs the environment of test_clients.py.
"""

import json
import unittest

import jsonschema
from workbench import HERE, NODE_TOOLS, ROOT, run

COLLECTION = ROOT / "clients" / "partita.postman_collection.json"
DOCUMENT = ROOT / "openapi" / "openapi.json"
# Postman's own schema, as a package brings it.
SCHEMA = NODE_TOOLS / "node_modules" / "@har-sdk" / "validator" / "dist" / "schemas" / "postman" / "v2.1.0.json"


class PostmanTest(unittest.TestCase):
    def setUp(self):
        self.collection = json.loads(COLLECTION.read_text())

    def test_it_is_made_of_the_document(self):
        tools = {"PARTITA_CLIENTS_NODE": str(NODE_TOOLS)}
        made = run("node", "postman.mjs", str(DOCUMENT), cwd=HERE, environment=tools)
        self.assertTrue(made == COLLECTION.read_text(), f"{COLLECTION} is stale; tests/clients/postman.mjs says how to make it")

    def test_it_is_a_collection(self):
        schema = json.loads(SCHEMA.read_text())
        self.assertEqual(self.collection["info"]["schema"], "https://schema.getpostman.com/json/collection/v2.1.0/collection.json")
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.Draft7Validator(schema).validate(self.collection)

    def test_every_operation_is_in_it(self):
        requests = [item["request"] for folder in self.collection["item"] for item in folder["item"]]
        found = {(request["method"], "/" + "/".join(request["url"]["path"])) for request in requests}
        paths = json.loads(DOCUMENT.read_text())["paths"]
        self.assertEqual(
            found,
            {
                (method.upper(), path.replace("{", ":").replace("}", ""))
                for path, item in paths.items()
                for method in item
            },
        )

    def test_the_caller_fills_in_server_and_token(self):
        self.assertEqual({one["key"] for one in self.collection["variable"]}, {"baseUrl", "bearerToken"})
        self.assertEqual(self.collection["auth"]["type"], "bearer")
        self.assertIn("{{bearerToken}}", json.dumps(self.collection["auth"]))
        for folder in self.collection["item"]:
            for item in folder["item"]:
                self.assertEqual(item["request"]["url"]["host"], ["{{baseUrl}}"])


if __name__ == "__main__":
    unittest.main()
