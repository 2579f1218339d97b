"""What stands in for S3, SNS and SQS: moto's server, without a line for each request, and with the buckets that are named."""

import logging
import sys

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import main

# It keeps everything in memory: whenever it starts, they are not there. Nobody can ask for them before.
for bucket in sys.argv[2:]:
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")

logging.getLogger("werkzeug").setLevel(logging.ERROR)
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
