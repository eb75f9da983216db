openapi-ts --input ../../openapi/openapi.json --output generated --client @hey-api/client-fetch --no-log-file
