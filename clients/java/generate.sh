openapi-generator-cli generate --input-spec ../../openapi/openapi.json --generator-name java --output generated \
    --library native --additional-properties openApiNullable=false,invokerPackage=partita,apiPackage=partita.api,modelPackage=partita.model
