// Signs UploadPart URLs with the AWS SDK for JavaScript. Each line on stdin is a number of URLs; the answer to each is the CPU
// seconds that this process took for them, all its threads together.
import { createInterface } from "node:readline";

import { S3Client, UploadPartCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { accessKey, secretKey, region, bucket, key, uploadId, partSize } = JSON.parse(process.argv[2]);
const client = new S3Client({ region, credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } });

for await (const line of createInterface({ input: process.stdin })) {
  const count = Number(line);
  const before = process.cpuUsage();
  for (let number = 1; number <= count; number++) {
    const part = { Bucket: bucket, Key: key, UploadId: uploadId, PartNumber: number, ContentLength: partSize };
    await getSignedUrl(client, new UploadPartCommand(part), { expiresIn: 900 });
  }
  const { user, system } = process.cpuUsage(before);
  console.log((user + system) / 1e6);
}
