"""What Schemathesis cannot know of the service."""

import http.client
import urllib.parse

import schemathesis

# Larger uploads are left open: there are to be some of these, too.
LARGEST_UPLOAD = 65_536

# Why a request may be refused as `invalid-request` that is as the document says: operation, field, reason. Rules between two
# fields, two items or two numbers of a range, or about bytes, are none that a schema of OpenAPI 3.0 can say.
RULES = {
    ("signParts", "parts", "give either parts or items"),
    ("signParts", "parts", "not part numbers and ranges such as 1-100,205"),
    ("shareFile", "subject", "1 to 255 bytes of text, without control characters"),
    ("unshareFile", "subject", "1 to 255 bytes of text, without control characters"),
}
# The same for any position in a list.
ONCE = "a part may be named once in a call"


@schemathesis.hook
def after_call(context, case, response):
    """Sends the bytes of a small upload, as a client would, so that there are some that can be completed."""
    if case.operation.definition.raw.get("operationId") != "createUpload" or response.status_code != 201:
        return
    created = response.json()
    part_urls = created.get("partUrls", [])
    if len(part_urls) != 1 or part_urls[0]["size"] > LARGEST_UPLOAD:
        return
    [part_url] = part_urls
    url = urllib.parse.urlsplit(part_url["url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        connection.request(part_url["method"], f"{url.path}?{url.query}", bytes(part_url["size"]), part_url["headers"])
        status = connection.getresponse().status
        assert status == 200, f"S3 answered {status} to {part_url}"
    finally:
        connection.close()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is one."""
    # Wrong credentials are let in by nobody, and after 60 in a minute are not looked at any more: 429, where the check wants 401.
    if "ignored_auth" in failure.checks and "got `429 " in failure.message:
        return False
    # A request may be as the document says, and be refused for what a schema cannot rule out.
    if "positive_data_acceptance" not in failure.checks or response.status_code != 400:
        return True
    try:
        problem = response.json()
    except ValueError:
        return True
    if problem.get("code") == "invalid-cursor":
        # Only the service can make a cursor.
        return False
    operation = case.operation.definition.raw.get("operationId")
    errors = problem.get("errors", [])
    return not errors or not all(
        (operation, error["field"], error["detail"]) in RULES or error["detail"] == ONCE for error in errors
    )
