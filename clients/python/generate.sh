openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name python --output generated \
    --package-name partita_client
