openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name go --output generated \
    --package-name partita --additional-properties withGoMod=false
