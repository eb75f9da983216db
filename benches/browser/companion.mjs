// @ts-check
// @uppy/companion as its documentation sets it up, for S3 alone.
import { randomUUID } from "node:crypto";
import * as companion from "@uppy/companion";
import express from "express";
import session from "express-session";

const { PORT, ORIGIN, URL_LIFE_SECONDS, S3_ENDPOINT, S3_BUCKET, S3_PREFIX, S3_REGION, S3_KEY, S3_SECRET } = process.env;

const app = express();
app.use(express.json());
// Companion refuses to run without one.
app.use(session({ secret: "side by side", resave: false, saveUninitialized: false }));
const { app: companionApp } = companion.app({
  secret: "side by side",
  server: { host: `127.0.0.1:${PORT}`, protocol: "http" },
  filePath: "/tmp",
  corsOrigins: [ORIGIN],
  uploadUrls: [S3_ENDPOINT],
  s3: {
    key: S3_KEY,
    secret: S3_SECRET,
    bucket: S3_BUCKET,
    region: S3_REGION,
    endpoint: S3_ENDPOINT,
    forcePathStyle: true,
    // Its default, with a prefix.
    getKey: (/** @type {{ filename: string }} */ { filename }) => `${S3_PREFIX}${randomUUID()}-${filename}`,
    expires: Number(URL_LIFE_SECONDS),
  },
});
app.use(companionApp);
app.listen(Number(PORT), "127.0.0.1");
