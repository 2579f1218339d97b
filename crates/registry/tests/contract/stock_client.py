"""Drives a registry as an application with Confluent's client does: argument 1 is its URL."""

import json
import sys

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

client = SchemaRegistryClient({"url": sys.argv[1]})


def record(*fields):
    return json.dumps({"type": "record", "name": "Mail", "namespace": "stock", "fields": list(fields)})


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except SchemaRegistryError as error:
        assert error.error_code == code, error
        return error
    raise AssertionError(f"{call.__name__} should be refused with {code}")


uid = {"name": "uid", "type": "string"}
count = {"name": "url_count", "type": ["null", "long"], "default": None}
v1, v2 = record(uid), record(uid, count)
context = SerializationContext("stock", MessageField.VALUE)

# Produce and consume: the default name strategy asks for associations first.
mail = {"uid": "a@b"}
value = AvroSerializer(client, v1)(mail, context)
assert value[0] == 0, value
assert AvroDeserializer(client)(value, context) == mail

# Evolve: the old datum, read with the new schema.
AvroSerializer(client, v2)({"uid": "c", "url_count": 3}, context)
assert AvroDeserializer(client, v2)(value, context) == {"uid": "a@b", "url_count": None}

subject = "stock-value"
assert client.get_subjects() == [subject]
assert client.get_versions(subject) == [1, 2]
latest = client.get_latest_version(subject)
assert latest.version == 2 and latest.subject == subject and latest.guid, latest
schema = client.get_schema(latest.schema_id)
assert json.loads(schema.schema_str) == json.loads(v2)
assert client.get_schema_by_guid(latest.guid).schema_str == schema.schema_str
assert client.get_version(subject, 1).schema_id != latest.schema_id
assert client.lookup_schema(subject, Schema(v1, "AVRO")).version == 1
assert client.register_schema(subject, Schema(v2, "AVRO"), normalize_schemas=True) == latest.schema_id

# Compatibility.
bad = Schema(record(uid, {"name": "must", "type": "long"}), "AVRO")
assert not client.test_compatibility(subject, bad)
assert client.test_compatibility(subject, Schema(v2, "AVRO"), version=1)
assert "must" in str(refused(409, client.register_schema, subject, bad))
assert client.get_config().compatibility_level == "BACKWARD"
client.set_config(subject, ServerConfig(compatibility=ConfigCompatibilityLevel.NONE))
assert client.get_config(subject).compatibility_level == "NONE"
client.register_schema(subject, bad)

# References.
client.register_schema("inner", Schema(json.dumps({"type": "enum", "name": "stock.Colour", "symbols": ["RED"]}), "AVRO"))
outer = Schema(record({"name": "colour", "type": "stock.Colour"}), "AVRO", [SchemaReference("stock.Colour", "inner", 1)])
client.register_schema("outer", outer)
assert client.get_latest_version("outer").schema.references[0].subject == "inner"

# Deletion and errors.
refused(40401, client.get_latest_version, "nobody")
refused(40403, client.get_schema, 999999)
client.delete_version(subject, 3)
assert client.get_versions(subject) == [1, 2]
assert client.delete_subject(subject) == [1, 2]
assert client.delete_subject(subject, permanent=True) == [1, 2, 3]
assert subject not in client.get_subjects()

print("every call answered as by Confluent")
