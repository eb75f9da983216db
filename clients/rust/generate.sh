openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name rust --output generated \
    --package-name partita-client --additional-properties packageVersion=0.0.0
