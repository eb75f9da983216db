"""Tries a running service against its own OpenAPI document, with Schemathesis: no answer that the document does not name, no 5xx,
nothing without credentials, nothing of somebody else's.

Needs PARTITA_BIN, the path of the binary, and the Python environment of ./test. Fails on any finding, and on too few cases.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from service import Service, exchange

LEAST_CASES = 5_000
# Of the runs in all phases.
SEEDS = (20261122, 20261123)
# Of further chains of calls: a run gives up on these when a call, repeated, is not answered as it was before. That is in the
# nature of an upload, and so the first run gets only so far.
SEEDS_OF_CHAINS = (1, 2, 3, 4)
ALL_PHASES = "examples,coverage,fuzzing,stateful"
UPLOADS_OF_EACH = 60
# Parts of requests whose name does not say so.
REQUEST_SCHEMAS = {"Checksum", "SignPartsItem", "RecordPartsItem"}

SETTINGS = {
    "PARTITA_INSECURE_NO_AUTH": "false",
    "PARTITA_WEB_DEMO": "false",
    # A limit would answer 429 from some case on, and nothing would be tried any more.
    "PARTITA_LIMITS_REQUESTS_PER_MINUTE": "0",
}


def main():
    with tempfile.TemporaryDirectory(prefix="partita-schemathesis-") as folder:
        folder = Path(folder)
        service = Service(folder, SETTINGS)
        try:
            service.start()
            return try_service(service, folder)
        finally:
            service.kill()


def try_service(service, folder):
    callers = {owner: make_key(service, owner) for owner in ("alice", "bob")}
    write_callers(folder / "callers.json", callers)
    (folder / "openapi.json").write_text(json.dumps(tightened(document_of(service))))
    ids = [upload for key in callers.values() for upload in make_uploads(service, key)]
    (folder / "ids.txt").write_text("".join(f'"{upload}"\n' for upload in ids))

    for name in ("schemathesis.toml", "hooks.py"):
        shutil.copy(HERE / name, folder)

    wrong, cases = [], 0
    for seed, phases in [*((seed, ALL_PHASES) for seed in SEEDS), *((seed, "stateful") for seed in SEEDS_OF_CHAINS)]:
        report = run_schemathesis(folder, service.url, seed, phases)
        cases += report["test_cases"]["generated"]
        tested, there = report["operations"]["tested"], report["operations"]["total"]
        name = f"seed {seed}, {phases}"
        print(f"{name}: {report['test_cases']['generated']} cases, {tested} of {there} operations", flush=True)
        if report["exit_code"] != 0:
            wrong.append(f"{name}: found something")
        # What no chain leads to is tried by the other phases.
        if not report["complete"] or (phases == ALL_PHASES and tested < there):
            wrong.append(f"{name}: did not try everything")
        if service.process.poll() is not None:
            wrong.append(f"the service ended by itself; its log:\n{service.log()}")
            break
    print(f"{cases} cases; at least {LEAST_CASES} are wanted")
    if cases < LEAST_CASES:
        wrong.append("too few cases")
    for what in wrong:
        print(f"FAILED: {what}")
    return 1 if wrong else 0


def run_schemathesis(folder, url, seed, phases):
    """What it tells of one run: its JSON report."""
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", "schemathesis.toml", "--no-color"]
    command += ["run", "openapi.json", "--url", url, "--seed", str(seed), "--phases", phases]
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    # Its home is where it keeps what it remembers.
    subprocess.run(command, env=os.environ | {"HOME": str(folder)}, cwd=folder, check=False)
    return json.loads(report.read_text())


def document_of(service):
    status, _, text = exchange("GET", f"{service.url}/openapi.json")
    assert status == 200, status
    return json.loads(text)


def tightened(document):
    """The document of this service, with what it leaves open said, so that it is checked.

    The document serves services with auth and without, and so calls credentials optional; this service demands them. Fields that
    are not in the document are refused in requests, where answers may have new ones.
    """
    document["security"] = [scheme for scheme in document["security"] if scheme]
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Request") or name in REQUEST_SCHEMAS:
            schema.setdefault("additionalProperties", False)
    return document


def write_callers(path, keys):
    """Who the callers are, in the form of Web Fuzzing Commons."""
    auth = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]} for name, key in keys.items()
    ]
    path.write_text(json.dumps({"auth": auth}))


def make_key(service, owner):
    command = [os.environ["PARTITA_BIN"], "keys", "create", "--owner", owner]
    for scope in ("uploads:write", "files:read", "files:write"):
        command += ["--scope", scope]
    # What it tells on stderr is not the key.
    return subprocess.check_output(
        command, env=service.environment, cwd=service.directory, stderr=subprocess.DEVNULL, text=True
    ).strip()


def make_uploads(service, key):
    """Ids of uploads and files to begin with, more than random deletes and aborts get at."""
    for number in range(UPLOADS_OF_EACH):
        size = (0, 1_000)[number % 2]
        wanted = {"filename": f"{number}.txt", "contentType": "text/plain", "size": size}
        created = service.call("POST", "/v1/uploads", wanted, expected=(201,), key=key)
        for part_url in created["partUrls"]:
            status, _, _ = exchange(part_url["method"], part_url["url"], b"x" * part_url["size"], part_url["headers"])
            assert status == 200, f"S3 answered {status}"
        upload = created["upload"]["id"]
        # Two of three are files, one is open.
        if number % 3:
            service.call("POST", f"/v1/uploads/{upload}/complete", key=key)
        yield upload


if __name__ == "__main__":
    sys.exit(main())
