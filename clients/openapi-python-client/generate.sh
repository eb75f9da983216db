openapi-python-client generate --path ../../openapi/openapi.json --meta none --output-path generated/partita_client --overwrite
