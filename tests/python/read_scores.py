"""A stock Confluent consumer reads scores: prints one JSON line per record, until COUNT records or the end of the topic.

Usage: read_scores.py BOOTSTRAP REGISTRY_URL TOPIC COUNT
"""

import json
import sys
import uuid

from confluent_kafka import DeserializingConsumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer


def main() -> None:
    bootstrap, registry, topic, count = sys.argv[1:]
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"stock-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "value.deserializer": AvroDeserializer(SchemaRegistryClient({"url": registry})),
        }
    )
    consumer.subscribe([topic])
    seen, idle = 0, 0
    while seen < int(count) and idle < 30:
        message = consumer.poll(1.0)
        if message is None:
            idle += 1
            continue
        idle = 0
        seen += 1
        scored = message.value()
        print(
            json.dumps(
                {
                    "event_id": scored["event_id"],
                    "score": scored["score"],
                    "model_version": scored["model_version"],
                    "reasons": len(scored["reasons"]),
                    "uid": scored["event"]["uid"],
                    "fields": len(scored["event"]),
                }
            )
        )
    consumer.close()


if __name__ == "__main__":
    main()
