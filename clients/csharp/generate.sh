openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name csharp --output generated \
    --package-name Partita
