"""Uploads a file to Partita in parallel parts. Run again after an interruption, it goes on where it stopped.

Python 3.9 or newer, standard library only. It prints the upload's id:

    PARTITA_SERVER=http://127.0.0.1:8080 PARTITA_TOKEN=… python3 upload.py FILE [UPLOAD_ID]
"""

import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SERVER = os.environ.get("PARTITA_SERVER", "http://127.0.0.1:8080").rstrip("/")
HEADERS = {"Content-Type": "application/json"}
if os.environ.get("PARTITA_TOKEN"):
    HEADERS["Authorization"] = f"Bearer {os.environ['PARTITA_TOKEN']}"
PARALLEL, PAUSES, TIMEOUT, MIB = 4, (0.5, 1, 2, 4, 8, None), 60, 1 << 20


def retried(attempt, *also):
    """Repeats what failed for the moment: no answer, 408, 429, 5xx, whatever says Retry-After, and these statuses."""
    for pause in PAUSES:
        try:
            return attempt()
        except (OSError, HTTPException) as fault:
            status, wait = getattr(fault, "code", 503), getattr(fault, "headers", {}).get("Retry-After")
            if pause is None or not (wait or status >= 500 or status in (408, 429, *also)):
                raise
            time.sleep(float(wait or pause * random.uniform(0.5, 1)))


def call(method, path, body=None, **headers):
    """The answer's JSON. Each call is safe to repeat; the one that creates by its Idempotency-Key."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{SERVER}/v1/uploads{path}", data, HEADERS | headers, method=method)
    return retried(lambda: json.load(urlopen(request, timeout=TIMEOUT)))


def fingerprint_of(path):
    """By which any client finds this file's upload: the CRC-64/NVME of its first, middle and last MiB."""
    crc, table = 0xFFFF_FFFF_FFFF_FFFF, list(range(256))
    for _ in range(8):
        table = [entry >> 1 ^ (entry & 1) * 0x9A6C_9329_AC4B_C9B5 for entry in table]
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        for offset in (0, (size - MIB) // 2, size - MIB) if size > 3 * MIB else (0, MIB, 2 * MIB):
            file.seek(offset)
            for byte in file.read(MIB):
                crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return f"p1-{size}-{crc ^ 0xFFFF_FFFF_FFFF_FFFF:016x}"


def find_or_create(path, upload_id=None):
    fingerprint = fingerprint_of(path)
    if upload_id:
        upload = call("GET", f"/{upload_id}")
        return upload if upload.get("fingerprint") == fingerprint else sys.exit(f"{upload_id} is of a different file")
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    for upload in call("GET", f"?fingerprint={fingerprint}")["items"]:
        if upload["state"] == "completing" or upload["state"] == "open" and upload["expiresAt"] > now:
            return upload
    wanted = {"filename": os.path.basename(path), "size": os.path.getsize(path), "fingerprint": fingerprint}
    return call("POST", "", wanted | {"partUrls": {"count": 0}}, **{"Idempotency-Key": os.urandom(16).hex()})["upload"]


def send_part(path, upload_id, number):
    def attempt():
        # A URL of its own for each attempt: the last one may have expired, which S3 answers by 403.
        [part] = call("POST", f"/{upload_id}/part-urls", {"parts": str(number)})["partUrls"]
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(part["size"]), **part["headers"]}
        with open(path, "rb") as file:
            file.seek(part["offset"])
            pieces = (file.read(min(MIB, part["size"] - at)) for at in range(0, part["size"], MIB))
            urlopen(Request(part["url"], pieces, headers, method="PUT"), timeout=TIMEOUT).close()

    retried(attempt, 403)
    print(f"sent part {number}", file=sys.stderr)


path = sys.argv[1] if sys.argv[1:] else sys.exit(__doc__)
try:
    upload = find_or_create(path, *sys.argv[2:])
    if upload["state"] == "open":
        # What an earlier run has sent is at S3, which is asked for it. The answer's ranges are such as "3-5,8".
        missing = call("POST", f"/{upload['id']}/sync")["missingParts"].split(",")
        ranges = [ends.partition("-") for ends in missing if ends]
        numbers = [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda number: send_part(path, upload["id"], number), numbers))
    while call("POST", f"/{upload['id']}/complete")["state"] != "completed":
        time.sleep(1)
    print(upload["id"])
except (OSError, HTTPException) as error:
    sys.exit(f"{error} {error.read().decode() if isinstance(error, HTTPError) else ''}")
