"""What stands in for S3, SNS and SQS: moto's server, without a line for each request, and with what the stack needs of them.

aws.py PORT SCORES BUCKET ..: the buckets, of which the first one tells of its files of scores: S3 to SNS to SQS, topic and queue by
the name SCORES, and the queue of dead messages beside them.
"""

import logging
import sys

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import main
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

REGION = "us-east-1"
port, scores, *buckets = sys.argv[1:]
s3 = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
sns = sns_backends[DEFAULT_ACCOUNT_ID][REGION]
sqs = sqs_backends[DEFAULT_ACCOUNT_ID][REGION]

# It keeps everything in memory: whenever it starts, they are not there. Nobody can ask for them before.
for bucket in buckets:
    s3.create_bucket(bucket, REGION)
topic = sns.create_topic(scores)
sns.subscribe(topic.arn, sqs.create_queue(scores, {}).queue_arn, "sqs")
sqs.create_queue(f"{scores}-dead", {})
suffix = {"S3Key": {"FilterRule": [{"Name": "suffix", "Value": ".scored.avro"}]}}
told = {"Topic": topic.arn, "Event": ["s3:ObjectCreated:*"], "Filter": suffix}
s3.put_bucket_notification_configuration(buckets[0], {"TopicConfiguration": [told]})

logging.getLogger("werkzeug").setLevel(logging.ERROR)
main(["-H", "127.0.0.1", "-p", port])
