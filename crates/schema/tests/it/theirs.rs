//! apache-avro, reading and writing single data.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter};

/// Reads one datum from the beginning of `datum`, which is left behind it.
pub(crate) fn read(schema: &Schema, datum: &mut &[u8]) -> Value {
    GenericDatumReader::builder(schema).build().unwrap().read_value(datum).unwrap()
}

/// Writes one datum.
pub(crate) fn write(schema: &Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}
