"""What stands in for S3, SNS and SQS: moto's server, without a line for each request."""

import logging
import sys

from moto.server import main

logging.getLogger("werkzeug").setLevel(logging.ERROR)
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
