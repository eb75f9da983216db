"""Clients generated from the committed document: each compiles, uploads a file to the real service, and types its problems.

Needs PARTITA_BIN, the path of the binary, PARTITA_CLIENTS_PYTHON and PARTITA_CLIENTS_NODE, the tools as ./test installs them,
Java 17, Go and cargo.
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from workbench import CARGO_TARGET, ENVIRONMENT, HERE, PYTHON_TOOLS, ROOT, Workbench, run

sys.path.insert(0, str(HERE.parent / "scripts"))

from service import Service, exchange

DOCUMENT = json.loads((ROOT / "openapi" / "openapi.json").read_text())
OPERATIONS = sorted(operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values())
SIZE = 50_000_000
# What a 32-bit number could not hold; a larger file is refused.
MAX_SIZE = 3 << 30
RUN_TIMEOUT_SECONDS = 120
BUILD_TIMEOUT_SECONDS = 1800

workbench = service = token = folder = None


def setUpModule():
    global workbench, service, token, folder
    folder = Path(tempfile.mkdtemp(prefix="partita-clients-"))
    unittest.addModuleCleanup(shutil.rmtree, folder)
    service = Service(folder, {"PARTITA_INSECURE_NO_AUTH": "false"})
    (folder / "partita.toml").write_text(f"[preset.default]\nmax_size = {MAX_SIZE}\n")
    unittest.addModuleCleanup(service.kill)
    service.start()
    command = [os.environ["PARTITA_BIN"], "keys", "create", "--owner", "alice"]
    command += ["--scope", "uploads:write", "--scope", "files:read"]
    token = subprocess.check_output(
        command, env=service.environment, cwd=folder, stderr=subprocess.DEVNULL, text=True
    ).strip()
    workbench = Workbench()
    unittest.addModuleCleanup(workbench.close)


class OfEachClient:
    """The promises that the document keeps with whatever generator reads it."""

    name = None

    @classmethod
    def setUpClass(cls):
        cls.folder = workbench.clients / cls.name
        if (cls.folder / "generate.sh").exists():
            workbench.generate(cls.name)
        cls.compile()

    @classmethod
    def compile(cls):
        """Compiles or type-checks the client and the program that uses it."""
        raise NotImplementedError

    def command(self):
        """Runs the program; the file's path comes after it."""
        raise NotImplementedError

    environment = {}

    def test_a_file_is_uploaded(self):
        data = random.randbytes(SIZE)
        file = folder / "holiday.mov"
        file.write_bytes(data)
        ended = self.run_program(file)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        upload = service.call("GET", f"/v1/uploads/{ended.stdout.strip()}", key=token)
        self.assertEqual((upload["state"], upload["object"]["size"]), ("completed", SIZE))
        link = service.call("GET", f"/v1/files/{upload['id']}/download-url", key=token)["url"]
        self.assertEqual(hashlib.sha256(exchange("GET", link)[2]).hexdigest(), hashlib.sha256(data).hexdigest())

    def test_a_problem_is_typed(self):
        file = folder / "large.mov"
        with file.open("wb") as large:
            # Of a size only; nothing of it is read before it is refused.
            large.truncate(MAX_SIZE + 1)
        ended = self.run_program(file)
        file.unlink()
        self.assertEqual((ended.returncode, ended.stdout), (1, ""), ended.stderr)
        # After the words about it the number itself.
        self.assertRegex(ended.stderr, rf"(?m)^file-too-large .* bytes {MAX_SIZE}$")

    def test_a_refusal_to_know_the_caller_is_typed(self):
        ended = self.run_program(HERE / "package.json", with_token="prt_unknown")
        self.assertEqual((ended.returncode, ended.stdout), (1, ""), ended.stderr)
        self.assertIn("invalid-token ", ended.stderr)

    def run_program(self, file, with_token=None):
        environment = {"PARTITA_SERVER": service.url, "PARTITA_TOKEN": with_token or token}
        return subprocess.run(
            [*self.command(), str(file)],
            cwd=self.folder,
            env=ENVIRONMENT | self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_SECONDS,
            check=False,
        )


class TypeScript(OfEachClient):
    @classmethod
    def compile(cls):
        shutil.copyfile(HERE / "tsconfig.json", cls.folder / "tsconfig.json")
        run("tsc", "--project", "tsconfig.json", cwd=cls.folder)

    def command(self):
        return ["tsx", "upload.ts"]


class TestOpenapiFetch(TypeScript, unittest.TestCase):
    name = "openapi-fetch"


class TestHeyApi(TypeScript, unittest.TestCase):
    name = "hey-api"


class TestOrval(TypeScript, unittest.TestCase):
    name = "orval"


class TestTypescriptFetch(TypeScript, unittest.TestCase):
    name = "typescript-fetch"


class Python(OfEachClient):
    environment = {"PYTHONPATH": "generated"}
    # What the generator's own code can be held to.
    strictness = ()

    @classmethod
    def compile(cls):
        command = ["mypy", "--config-file", str(HERE / "mypy.ini"), *cls.strictness]
        run(*command, "upload.py", "generated/partita_client", cwd=cls.folder, environment={"MYPYPATH": "generated"})

    def command(self):
        return ["python3", "upload.py"]


class TestOpenapiPythonClient(Python, unittest.TestCase):
    name = "openapi-python-client"
    strictness = ("--strict",)

    def test_nothing_is_left_out(self):
        self.assertNotIn("warning", workbench.told(self.name).lower())


class TestPython(Python, unittest.TestCase):
    name = "python"


class Rust(OfEachClient):
    @classmethod
    def compile(cls):
        # A member of the same workspace, without which cargo reads none of it.
        workbench.generate("rust")
        run("cargo", "build", "--locked", "--package", cls.package, cwd=workbench.clients, timeout=BUILD_TIMEOUT_SECONDS)

    def command(self):
        return [str(CARGO_TARGET / "debug" / self.package)]


class TestProgenitor(Rust, unittest.TestCase):
    name = "progenitor"
    package = "upload-with-progenitor"


class TestRust(Rust, unittest.TestCase):
    name = "rust"
    package = "upload-with-openapi-generator"


class TestJava(OfEachClient, unittest.TestCase):
    name = "java"
    # The generator brings the Jackson that its clients need; of Debian is what the JDK no longer has.
    annotations = "/usr/share/java/geronimo-annotation-1.3-spec.jar"

    @classmethod
    def compile(cls):
        [generator] = PYTHON_TOOLS.glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar")
        cls.classes = cls.folder / "classes"
        shutil.rmtree(cls.classes, ignore_errors=True)
        cls.classpath = f"{cls.classes}:{generator}:{cls.annotations}"
        sources = [str(file) for file in (cls.folder / "generated" / "src" / "main").rglob("*.java")]
        run("javac", "-nowarn", "-d", str(cls.classes), "-cp", cls.classpath, "Upload.java", *sources, cwd=cls.folder)

    def command(self):
        return ["java", "-cp", self.classpath, "Upload"]


class TestGo(OfEachClient, unittest.TestCase):
    name = "go"

    @classmethod
    def compile(cls):
        run("go", "vet", ".", "./generated", cwd=cls.folder)
        run("go", "build", "-o", "upload", ".", cwd=cls.folder)

    def command(self):
        return ["./upload"]


class ReadText:
    """Of languages that are read as well, or only: what must stand in the generated text."""

    sources = None
    # How a client declares an operation, and a property of 64 bits; `{}` is the name.
    operation = None
    wide = None
    # What of that is otherwise where the property has only 32.
    narrow = None
    problem = None
    untyped = None

    def setUp(self):
        root = workbench.generate(self.name) / "generated"
        self.text = "\n".join(file.read_text() for file in sorted(root.rglob(self.sources)))

    def test_every_operation_is_there(self):
        for operation in OPERATIONS:
            name = operation[0].upper() + operation[1:]
            self.assertRegex(self.text, self.operation.format(re.escape(name)), operation)

    def test_sizes_have_64_bits(self):
        wide = {
            name
            for schema in DOCUMENT["components"]["schemas"].values()
            for name, property in schema["properties"].items()
            if property.get("format") == "int64"
        }
        self.assertGreaterEqual(wide, {"size", "partSize", "offset", "maxSize", "recordedBytes"})
        for name in wide:
            declaration = self.wide.format(name[0].upper() + name[1:])
            self.assertRegex(self.text, declaration, name)
            self.assertNotRegex(self.text, declaration.replace(*self.narrow), name)

    def test_problems_are_typed(self):
        for property in DOCUMENT["components"]["schemas"]["Problem"]["properties"]:
            self.assertRegex(self.text, self.problem.format(property[0].upper() + property[1:]), property)

    def test_nothing_is_untyped(self):
        self.assertEqual(re.findall(self.untyped, self.text), [])


class TestGoText(ReadText, unittest.TestCase):
    name = "go"
    sources = "*.go"
    operation = r"func \(a \*\w+APIService\) {}\(ctx context\.Context"
    wide = r"\n\t{} \*?int64 `json:"
    narrow = ("int64", "int32")
    problem = r"type Problem struct \{{(?:[^}}]*\n)?\t{} "
    # A property, an argument or a result of a call; the generator's own machinery takes anything.
    untyped = r"\n\t[A-Z]\w* \*?(?:map\[string\])?interface\{\} `json.*|Execute\(\) \(.*interface\{\}.*"


class TestCsharpText(ReadText, unittest.TestCase):
    name = "csharp"
    sources = "src/Partita/*/*.cs"
    operation = r"Task<I{0}ApiResponse> {0}Async\("
    wide = r"public long\?? {} \{{"
    narrow = ("long", "int")
    problem = r"class Problem [^@]*?public [\w<>?]+ {} \{{"
    untyped = r"public (?:object|Object|dynamic|Dictionary<string, [Oo]bject>)\?? [A-Z]\w* \{.*"


if __name__ == "__main__":
    unittest.main()
