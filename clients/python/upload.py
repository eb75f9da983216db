"""Uploads a file with openapi-generator's client for Python: PYTHONPATH=generated python3 upload.py FILE"""

import os
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from partita_client import ApiClient, ApiException, Configuration, CreateUploadRequest, PartUrlsRequest, Problem, UploadsApi

server, token = os.environ.get("PARTITA_SERVER", "http://127.0.0.1:8080"), os.environ.get("PARTITA_TOKEN")
uploads = UploadsApi(ApiClient(Configuration(host=server, access_token=token)))


def upload(path: Path) -> str:
    """Sends the file, part by part; the upload's id."""
    with path.open("rb") as file:
        # [upload]
        wanted = CreateUploadRequest(filename=path.name, size=path.stat().st_size, partUrls=PartUrlsRequest(count=1000))
        created = uploads.create_upload(wanted)
        for part in created.part_urls:
            file.seek(part.offset)
            urlopen(Request(part.url, file.read(part.size), part.headers, method="PUT")).close()
        while uploads.complete_upload(created.upload.id).state != "completed":
            pass
        # [/upload]
    return str(created.upload.id)


try:
    print(upload(Path(sys.argv[1])))
except ApiException as refusal:
    problem = refusal.data
    assert isinstance(problem, Problem)
    sys.exit(f"{problem.code} {problem.detail} {problem.max_size or ''}")
