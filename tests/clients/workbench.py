"""Where clients are generated: a copy of `clients/` beside a copy of the document, so that `generate.sh` finds what a user's finds.

It is kept under ~/.cache/partita/, under a name that changes with the document, the tools and the way they are called: what is generated
there already is right. The programs are copied anew each time.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path.home() / ".cache" / "partita"
# The pinned tools, as ./test installed them.
PYTHON_TOOLS = Path(os.environ["PARTITA_CLIENTS_PYTHON"])
NODE_TOOLS = Path(os.environ["PARTITA_CLIENTS_NODE"])
# Compiled dependencies are shared by all workbenches.
CARGO_TARGET = CACHE / "clients-target"
GENERATE_TIMEOUT_SECONDS = 300

# No tool may look for settings, or write, where the caller's are; none may tell anybody that it was called.
ENVIRONMENT = {
    "PATH": f"{PYTHON_TOOLS}/bin:{NODE_TOOLS}/node_modules/.bin:{os.environ['PATH']}",
    "HOME": os.environ["HOME"],
    "CARGO_TARGET_DIR": str(CARGO_TARGET),
    "GOPROXY": "off",
    "GOFLAGS": "-mod=mod",
    "GOTOOLCHAIN": "local",
    "DO_NOT_TRACK": "1",
}


def run(*command, cwd, timeout=GENERATE_TIMEOUT_SECONDS, environment=None):
    """Runs it to its end; what it wrote. Fails as it does."""
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert finished.returncode == 0, f"{' '.join(map(str, command))}: {finished.returncode}\n{finished.stdout[-6000:]}"
    return finished.stdout


class Workbench:
    def __init__(self):
        made_of = [ROOT / "openapi" / "openapi.json", HERE / "requirements.txt", HERE / "package-lock.json"]
        made_of += sorted((ROOT / "clients").glob("*/generate.sh"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in made_of)).hexdigest()
        self.root = CACHE / f"clients-{digest[:16]}"
        self.clients = self.root / "clients"
        self.root.mkdir(parents=True, exist_ok=True)
        # Two runs at once would compile each other's half-copied files.
        self._lock = open(self.root / "lock", "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.root / "openapi").mkdir(exist_ok=True)
        copy_if_new(ROOT / "openapi" / "openapi.json", self.root / "openapi" / "openapi.json")
        modules = self.root / "node_modules"
        if not modules.exists():
            modules.unlink(missing_ok=True)
            modules.symlink_to(NODE_TOOLS / "node_modules")
        for file in sorted((ROOT / "clients").rglob("*")):
            relative = file.relative_to(ROOT / "clients")
            if file.is_file() and not {"generated", "target", "__pycache__"} & set(relative.parts):
                (self.clients / relative).parent.mkdir(parents=True, exist_ok=True)
                copy_if_new(file, self.clients / relative)

    def close(self):
        self._lock.close()

    def generate(self, name):
        """The folder of the client, generated; what the generator told is in `generated.log`."""
        folder = self.clients / name
        stamp = folder / "generated.complete"
        if not stamp.exists():
            shutil.rmtree(folder / "generated", ignore_errors=True)
            (folder / "generated.log").write_text(run("sh", "generate.sh", cwd=folder))
            stamp.touch()
        return folder

    def told(self, name):
        """What the generator wrote while it generated."""
        return (self.generate(name) / "generated.log").read_text()


def copy_if_new(source, target):
    """Compilers go by the time of change: what is as it was stays as it is."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
