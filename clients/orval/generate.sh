orval --input ../../openapi/openapi.json --output generated/partita.ts --client fetch
