// @uppy/companion as its documentation sets it up, for S3 alone: no providers of other clouds, no database, no owner check.
import * as companion from "@uppy/companion";
import express from "express";
import session from "express-session";

const { PORT, S3, LIFE, BUCKET, REGION, KEY, SECRET } = process.env;
const app = express();
app.use(express.json());
app.use(session({ secret: "benchmark", resave: false, saveUninitialized: false }));
const { app: companionApp } = companion.app({
  secret: "benchmark",
  server: { host: `127.0.0.1:${PORT}`, protocol: "http" },
  filePath: "/tmp",
  corsOrigins: true,
  uploadUrls: ["http://127.0.0.1/"],
  s3: { key: KEY, secret: SECRET, bucket: BUCKET, region: REGION, endpoint: S3, forcePathStyle: true, expires: Number(LIFE) },
});
app.use(companionApp);
app.listen(Number(PORT), "127.0.0.1");
