"""What `clients/README.md` shows is what the other tests run."""

import json
import re
import textwrap
import tomllib
import unittest

from workbench import HERE, ROOT

CLIENTS = ROOT / "clients"
README = (CLIENTS / "README.md").read_text()
REGION = re.compile(r"^[ \t]*(?://|#) \[upload\]\n(.*?)^[ \t]*(?://|#) \[/upload\]$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs():
    return sorted(file for kind in ("ts", "py", "rs", "java", "go") for file in CLIENTS.glob(f"*/**/*.{kind}") if is_ours(file))


def is_ours(file):
    return "generated" not in file.relative_to(CLIENTS).parts


class ReadmeTest(unittest.TestCase):
    def test_each_program_is_shown_as_it_is(self):
        self.assertEqual(len(programs()), 10)
        blocks = BLOCK.findall(README)
        for file in programs():
            with self.subTest(file.relative_to(CLIENTS)):
                [region] = REGION.findall(file.read_text())
                self.assertIn(textwrap.dedent(region).expandtabs(4), [block.expandtabs(4) for block in blocks])

    def test_each_client_is_made_as_it_says(self):
        blocks = BLOCK.findall(README)
        made = sorted(CLIENTS.glob("*/generate.sh"))
        self.assertEqual(len(made), 10)
        for file in made:
            with self.subTest(file.relative_to(CLIENTS)):
                self.assertIn(file.read_text(), blocks)
        [macro] = re.findall(r"^progenitor::generate_api!.*\n", (CLIENTS / "progenitor/src/main.rs").read_text(), re.MULTILINE)
        self.assertIn(macro, blocks)

    def test_the_versions_are_those_that_were_tried(self):
        pins = json.loads((HERE / "package.json").read_text())["devDependencies"]
        pins |= dict(line.split("==") for line in (HERE / "requirements.txt").read_text().split() if "==" in line)
        pins["openapi-generator"] = pins["openapi-generator-cli"]
        locked = tomllib.loads((CLIENTS / "Cargo.lock").read_text())["package"]
        pins |= {package["name"]: package["version"] for package in locked if package["name"] == "progenitor"}
        rows = re.findall(r"^\| ([^|`,]+?)(?: `.*?)? \| ([\d., ]+)", README, re.MULTILINE)
        self.assertEqual(len(rows), 11)
        for names, versions in rows:
            for name, version in zip(names.split(" + "), versions.strip().split(", "), strict=True):
                self.assertEqual(pins[name].rsplit(".", 1)[0], version, name)

    def test_nothing_else_is_shown(self):
        # Of each of ten programs what it does and how its client is made, and of C# the latter.
        self.assertEqual(len(BLOCK.findall(README)), 21)


if __name__ == "__main__":
    unittest.main()
