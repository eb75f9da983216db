openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name typescript-fetch --output generated
