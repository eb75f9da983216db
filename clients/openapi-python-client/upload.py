"""Uploads a file with the client of openapi-python-client: PYTHONPATH=generated python3 upload.py FILE"""

import os
import sys
from pathlib import Path
from typing import TypeVar
from urllib.request import Request, urlopen

from partita_client import AuthenticatedClient
from partita_client.api.uploads import complete_upload, create_upload
from partita_client.models import CreateUploadRequest, PartUrlsRequest, Problem, UploadState

server, token = os.environ.get("PARTITA_SERVER", "http://127.0.0.1:8080"), os.environ.get("PARTITA_TOKEN", "")
client = AuthenticatedClient(base_url=server, token=token, raise_on_unexpected_status=True)
Answer = TypeVar("Answer")


def answer(of: Answer | Problem | None) -> Answer:
    """What the service answers, or its problem, told."""
    if isinstance(of, Problem):
        sys.exit(f"{of.code} {of.detail} {of.max_size or ''}")
    assert of is not None
    return of


path = Path(sys.argv[1])
with path.open("rb") as file:
    # [upload]
    wanted = CreateUploadRequest(path.name, size=path.stat().st_size, part_urls=PartUrlsRequest(count=1000))
    created = answer(create_upload.sync(client=client, body=wanted))
    for part in created.part_urls:
        file.seek(part.offset)
        urlopen(Request(part.url, file.read(part.size), part.headers.to_dict(), method="PUT")).close()
    while answer(complete_upload.sync(created.upload.id, client=client)).state != UploadState.COMPLETED:
        pass
    # [/upload]
print(created.upload.id)
