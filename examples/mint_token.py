"""What an application's backend does to let a browser upload: it makes a short-lived token for the user who is signed in.

Python 3.8 or newer, standard library only. To try it:

    PARTITA_AUTH_JWT_SECRET_FILE=secret PARTITA_AUTH_JWT_ISSUER=app PARTITA_AUTH_JWT_AUDIENCE=partita \\
        python3 mint_token.py alice --scope="uploads:write files:read" --ttl=900 --preset=photos
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path


def mint_token(secret, issuer, audience, subject, scope, ttl_seconds, presets=None):
    """A JSON Web Token (RFC 7519), signed with HS256."""
    claims = {"iss": issuer, "aud": audience, "sub": subject, "scope": scope, "exp": int(time.time()) + ttl_seconds}
    if presets:
        claims["partita_presets"] = presets

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + encode(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("subject")
    parser.add_argument("--scope", default="uploads:write files:read")
    parser.add_argument("--ttl", type=int, default=900, help="seconds")
    parser.add_argument("--preset", action="append")
    # The name of a file, for arguments are seen by everybody on the machine.
    parser.add_argument("--secret-file", default=os.environ.get("PARTITA_AUTH_JWT_SECRET_FILE"))
    given = parser.parse_args()
    # The service does not count white space at the end of its secret either.
    secret = Path(given.secret_file).read_text().rstrip().encode()
    issuer, audience = os.environ["PARTITA_AUTH_JWT_ISSUER"], os.environ["PARTITA_AUTH_JWT_AUDIENCE"]
    print(mint_token(secret, issuer, audience, given.subject, given.scope, given.ttl, given.preset))


if __name__ == "__main__":
    main()
