"""What `clients/README.md` shows is what the other tests run."""

import re
import textwrap
import unittest

from workbench import ROOT

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

    def test_nothing_else_is_shown(self):
        # Of each of ten programs what it does and how its client is made, and of C# the latter.
        self.assertEqual(len(BLOCK.findall(README)), 21)


if __name__ == "__main__":
    unittest.main()
