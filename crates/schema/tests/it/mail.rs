//! Real records, run wherever their folder is found beside the repository.

use crate::theirs;

use std::{fs::File, io::BufReader, path::Path};

use apache_avro::types::Value;
use millrace_schema::{
    FieldPath, Projection, Schema, Slot, Validator, container,
    json::{Encoder, to_json},
    scored,
};

const FILE: &str = "spamassassin-2002-heldout-unlabelled.avro";

fn open() -> Option<BufReader<File>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/email").join(FILE);
    let file = File::open(&path).ok();
    if file.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    file.map(BufReader::new)
}

fn slot(value: &Value) -> Option<Slot<'_>> {
    Some(match value {
        Value::Null => Slot::Null,
        Value::Boolean(value) => Slot::Bool(*value),
        Value::Int(value) => Slot::Long((*value).into()),
        Value::Long(value) | Value::TimestampMillis(value) => Slot::Long(*value),
        Value::Float(value) => Slot::Double((*value).into()),
        Value::String(text) | Value::Enum(_, text) => Slot::Str(text),
        Value::Union(_, value) => return slot(value),
        _ => return None,
    })
}

#[test]
fn records_are_read_as_apache_avro_reads_them() {
    let (Some(ours), Some(theirs)) = (open(), open()) else { return };
    let mut ours = container::Reader::new(ours, container::Limits::default()).unwrap();
    let schema: Schema = ours.schema().clone();
    let fields = &schema.root_node().record().unwrap().fields;
    let paths: Vec<_> = fields.iter().map(|field| FieldPath::from_segments([&field.name])).collect();
    let projection = Projection::compile(&schema, &schema, &paths).unwrap();
    let (validator, encoder) = (Validator::compile(&schema), Encoder::compile(&schema));

    let (mut count, mut again) = (0, Vec::new());
    for their in apache_avro::Reader::new(theirs).unwrap() {
        let Value::Record(their) = their.unwrap() else { panic!("not a record") };
        let datum = ours.next_datum().unwrap().unwrap();
        validator.validate(datum).unwrap();
        let mut slots = Vec::new();
        assert_eq!(projection.read(datum, &mut slots), Ok(datum.len()));
        for (((name, value), ours), field) in their.iter().zip(&slots).zip(fields) {
            assert_eq!(name, &field.name);
            match (slot(value), value, ours) {
                (Some(their), _, ours) => assert_eq!(*ours, their, "{name}"),
                (None, Value::Array(items), Slot::Complex(list)) => assert_eq!(list.len(), items.len(), "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        again.clear();
        encoder.encode(&to_json(&schema, datum).unwrap(), &mut again).unwrap();
        assert_eq!(again, datum, "JSON and back");
        count += 1;
    }
    assert!(ours.next_datum().is_none());
    assert_eq!(count, 1_495);
}

#[test]
fn a_scored_record_is_read_by_others() {
    let Some(file) = open() else { return };
    let mut reader = container::Reader::new(file, container::Limits::default()).unwrap();
    let scored = scored::compose(reader.schema()).unwrap();
    let mut datum = Vec::new();
    scored::encode_head(&scored::Head { event_id: "e", score: 0.5, ..Default::default() }, &mut datum);
    datum.extend_from_slice(reader.next_datum().unwrap().unwrap());
    Validator::compile(&scored).validate(&datum).unwrap();
    let schema = apache_avro::Schema::parse_str(&scored.java_string()).unwrap();
    let Value::Record(fields) = theirs::read(&schema, &mut datum.as_slice()) else { panic!("not a record") };
    assert_eq!(fields[8], ("score".into(), Value::Double(0.5)));
    let (name, Value::Record(event)) = &fields[11] else { panic!("not a record") };
    assert_eq!((name.as_str(), event.len()), ("event", 69));
}
