"""Signs UploadPart URLs with boto3. Each line on stdin is a number of URLs; the answer to each is the CPU seconds they took."""

import json
import sys
import time

import boto3

given = json.loads(sys.argv[1])
client = boto3.client(
    "s3",
    region_name=given["region"],
    aws_access_key_id=given["accessKey"],
    aws_secret_access_key=given["secretKey"],
    config=boto3.session.Config(signature_version="s3v4"),
)

for line in sys.stdin:
    before = time.process_time()
    for number in range(1, int(line) + 1):
        part = {
            "Bucket": given["bucket"],
            "Key": given["key"],
            "UploadId": given["uploadId"],
            "PartNumber": number,
            "ContentLength": given["partSize"],
        }
        client.generate_presigned_url("upload_part", Params=part, ExpiresIn=900)
    print(time.process_time() - before, flush=True)
