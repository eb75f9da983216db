// @uppy/companion as its documentation sets it up, for S3 alone: no providers of other clouds, no database, no owner check.
// Prints the port that it listens on. Run with NODE_ENV=production; S3 is never called, for only URLs are asked of it.
import * as companion from "@uppy/companion";
import express from "express";
import session from "express-session";

const app = express();
app.use(express.json());
// Companion refuses to run without one.
app.use(session({ secret: "benchmark", resave: false, saveUninitialized: false }));
const { app: companionApp } = companion.app({
  secret: "benchmark",
  server: { host: "127.0.0.1", protocol: "http" },
  filePath: "/tmp",
  corsOrigins: true,
  uploadUrls: ["http://127.0.0.1/"],
  s3: {
    key: "bench-access-key",
    secret: "bench-secret-key",
    bucket: "media",
    region: "eu-central-1",
    expires: 900,
    getKey: ({ filename }) => filename,
  },
});
app.use(companionApp);
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
