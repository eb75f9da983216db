// What an application's backend does to let a browser upload: it makes a short-lived token for the user who is signed in.
// Node 20 or newer, no packages. To try it:
//
//   PARTITA_AUTH_JWT_SECRET_FILE=secret PARTITA_AUTH_JWT_ISSUER=app PARTITA_AUTH_JWT_AUDIENCE=partita \
//     node mint-token.mjs alice --scope="uploads:write files:read" --ttl=900 --preset=photos
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** A JSON Web Token (RFC 7519), signed with HS256. */
export function mintToken({ secret, issuer, audience, subject, scope, presets, ttlSeconds }) {
  const claims = { iss: issuer, aud: audience, sub: subject, scope, exp: Math.floor(Date.now() / 1000) + ttlSeconds };
  if (presets) claims.partita_presets = presets;
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      scope: { type: "string", default: "uploads:write files:read" },
      ttl: { type: "string", default: "900" },
      preset: { type: "string", multiple: true },
      // The name of a file, for arguments are seen by everybody on the machine.
      "secret-file": { type: "string", default: process.env.PARTITA_AUTH_JWT_SECRET_FILE },
    },
  });
  const token = mintToken({
    // The service does not count white space at the end of its secret either.
    secret: readFileSync(values["secret-file"], "utf8").trimEnd(),
    issuer: process.env.PARTITA_AUTH_JWT_ISSUER,
    audience: process.env.PARTITA_AUTH_JWT_AUDIENCE,
    subject: positionals[0],
    scope: values.scope,
    presets: values.preset,
    ttlSeconds: Number(values.ttl),
  });
  console.log(token);
}
