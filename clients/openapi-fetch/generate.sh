openapi-typescript ../../openapi/openapi.json --output generated/schema.d.ts
