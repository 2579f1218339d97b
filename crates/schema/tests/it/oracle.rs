//! Random schemas and values: what is encoded here is what apache-avro reads, and the verdict on two schemas is what
//! happens to the data.

use crate::theirs;

use apache_avro::types::Value as Theirs;
use millrace_schema::{
    FieldPath, Projection, Schema, Slot, Validator,
    compatibility::{IncompatibilityKind, can_read},
    json::{Encoder, to_json},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A type (without names, which must differ) and a value of it, in the form that `to_json` gives.
fn typed() -> BoxedStrategy<(Value, Value)> {
    let leaf = prop_oneof![
        Just((json!("null"), json!(null))),
        any::<bool>().prop_map(|it| (json!("boolean"), json!(it))),
        any::<i32>().prop_map(|it| (json!("int"), json!(it))),
        any::<i64>().prop_map(|it| (json!("long"), json!(it))),
        (-1000_i32..1000).prop_map(|it| (json!("float"), json!(f64::from(it) / 4.0))),
        proptest::num::f64::NORMAL.prop_map(|it| (json!("double"), json!(it))),
        "\\PC{0,12}".prop_map(|it| (json!("string"), json!(it))),
        prop_oneof![Just("AAEC"), Just(""), Just("/w==")].prop_map(|it| (json!("bytes"), json!(it))),
        (0_i64..4_000_000_000_000).prop_map(|it| {
            let text = jiff::Timestamp::from_millisecond(it).unwrap().to_string();
            (json!({"type": "long", "logicalType": "timestamp-millis"}), json!(text))
        }),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0_usize..4)
                .prop_map(|((ty, value), n)| { (json!({"type": "array", "items": ty}), json!(vec![value; n])) }),
            (inner.clone(), "[a-z]{1,4}")
                .prop_map(|((ty, value), key)| { (json!({"type": "map", "values": ty}), json!({ key: value })) }),
            inner
                .prop_filter("null alone", |(ty, _)| ty != "null")
                .prop_map(|(ty, value)| (json!(["null", ty]), value)),
        ]
        .prop_filter("no union in a union", |(ty, _)| !ty.as_array().is_some_and(|it| it[1].is_array()))
    })
    .boxed()
}

fn record() -> impl Strategy<Value = (Schema, Value)> {
    proptest::collection::vec(typed(), 1..12).prop_map(|fields| {
        let types: Vec<_> =
            fields.iter().enumerate().map(|(i, (ty, _))| json!({"name": format!("f{i}"), "type": ty})).collect();
        let schema = json!({"type": "record", "name": "x.R", "fields": types}).to_string();
        let values = fields.into_iter().enumerate().map(|(i, (_, value))| (format!("f{i}"), value)).collect();
        (Schema::parse(&schema).unwrap(), Value::Object(values))
    })
}

fn paths(schema: &Schema) -> Vec<FieldPath> {
    let fields = &schema.root_node().record().unwrap().fields;
    fields.iter().map(|field| FieldPath::from_segments([&field.name])).collect()
}

/// A slot against what apache-avro has for the same field.
fn agree(slot: &Slot<'_>, theirs: &Theirs) -> bool {
    match (slot, theirs) {
        (_, Theirs::Union(_, inner)) => agree(slot, inner),
        (Slot::Null, Theirs::Null) => true,
        (Slot::Bool(a), Theirs::Boolean(b)) => a == b,
        (Slot::Long(a), Theirs::Int(b)) => *a == i64::from(*b),
        (Slot::Long(a), Theirs::Long(b) | Theirs::TimestampMillis(b)) => a == b,
        (Slot::Double(a), Theirs::Float(b)) => a.to_bits() == f64::from(*b).to_bits(),
        (Slot::Double(a), Theirs::Double(b)) => a.to_bits() == b.to_bits(),
        (Slot::Str(a), Theirs::String(b)) => a == b,
        (Slot::Bytes(a), Theirs::Bytes(b)) => a == b,
        (Slot::Complex(a), Theirs::Array(b)) => a.len() == b.len(),
        (Slot::Complex(a), Theirs::Map(b)) => a.len() == b.len(),
        _ => false,
    }
}

/// The types that single fields are compared with, as reader and as writer.
const TYPES: [(&str, &str); 12] = [
    (r#""int""#, "1"),
    (r#""long""#, "2"),
    (r#""float""#, "0.5"),
    (r#""double""#, "0.25"),
    (r#""string""#, r#""AAEC""#),
    (r#""bytes""#, r#""AAEC""#),
    (r#""boolean""#, "true"),
    (r#"["null","int"]"#, "7"),
    (r#"["null","string"]"#, r#""AAEC""#),
    (r#"{"type":"array","items":"int"}"#, "[1]"),
    (r#"{"type":"array","items":"double"}"#, "[1.5]"),
    (r#"{"type":"map","values":"string"}"#, r#"{"a":"b"}"#),
];

fn single(ty: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{ty}}}]}}"#)).unwrap()
}

/// Whether both are numbers, nullable or not, or both arrays of numbers.
fn are_numbers(one: &str, other: &str) -> bool {
    let is_number = |ty: &str| ["int", "long", "float", "double"].iter().any(|number| ty.contains(number));
    is_number(one) && is_number(other) && one.contains("array") == other.contains("array")
}

/// Where the verdict is yes, each value is read; where it is no, none is, but for what a projection gives as it is: null
/// where the reader has none, and numbers that are wider than the reader's.
#[test]
fn the_verdict_on_two_schemas_is_what_happens_to_the_data() {
    for (writer, value) in TYPES {
        for (reader, _) in TYPES {
            let (written, read) = (single(writer), single(reader));
            let mut datum = Vec::new();
            let value: Value = serde_json::from_str(value).unwrap();
            Encoder::compile(&written).encode(&json!({ "f": value }), &mut datum).unwrap();
            let found = can_read(&read, &written);
            let mut slots = Vec::new();
            let projection = Projection::compile(&written, &read, &paths(&read));
            let is_read = projection.as_ref().is_ok_and(|it| it.read(&datum, &mut slots).is_ok());
            let value = writer.strip_prefix(r#"["null","#).map_or(writer, |rest| rest.trim_end_matches(']'));
            let null_only = value != writer && !reader.starts_with('[') && can_read(&read, &single(value)).is_empty();
            let wider = are_numbers(value, reader);
            assert_eq!(is_read, found.is_empty() || null_only || wider, "{reader} reads {writer}: {found:?}");
            let kinds = [IncompatibilityKind::TypeMismatch, IncompatibilityKind::MissingUnionBranch];
            assert!(
                found.iter().all(|it| kinds.contains(&it.kind) && it.path.starts_with("/fields/0/type")),
                "{found:?}"
            );
        }
    }
}

/// Who reads the items and who steps over the block by its size must end at the same place.
#[test]
fn a_block_that_is_not_as_long_as_it_says_is_refused() {
    let schema = single(r#"{"type":"array","items":"int"}"#);
    for (datum, is_valid) in [([3, 4, 2, 4, 0], true), ([3, 2, 2, 4, 0], false), ([3, 6, 2, 4, 0], false)] {
        assert_eq!(Validator::compile(&schema).validate(&datum).is_ok(), is_valid);
        assert_eq!(to_json(&schema, &datum).is_ok(), is_valid);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_encoded_here_is_what_others_read((schema, value) in record()) {
        let mut datum = Vec::new();
        Encoder::compile(&schema).encode(&value, &mut datum).unwrap();
        prop_assert_eq!(Validator::compile(&schema).validate(&datum), Ok(()));
        prop_assert_eq!(Validator::compile(&schema).skip(&datum), Ok(datum.len()));
        prop_assert_eq!(&to_json(&schema, &datum).unwrap(), &value);

        let their_schema = apache_avro::Schema::parse_str(&schema.java_string()).unwrap();
        let mut rest = datum.as_slice();
        let theirs = theirs::read(&their_schema, &mut rest);
        prop_assert!(rest.is_empty());
        let Theirs::Record(fields) = &theirs else { panic!("not a record") };
        let projection = Projection::compile(&schema, &schema, &paths(&schema)).unwrap();
        let mut slots = Vec::new();
        prop_assert_eq!(projection.read(&datum, &mut slots), Ok(datum.len()));
        for ((name, theirs), slot) in fields.iter().zip(&slots) {
            prop_assert!(agree(slot, theirs), "{name}: {slot:?} and {theirs:?}");
        }

        let mut again = Vec::new();
        let written = theirs::write(&their_schema, theirs);
        Encoder::compile(&schema).encode(&to_json(&schema, &written).unwrap(), &mut again).unwrap();
        prop_assert_eq!(to_json(&schema, &again).unwrap(), value);
    }

    /// Any choice of fields gives what the choice of all gives.
    #[test]
    fn fields_do_not_depend_on_each_other((schema, value) in record(), chosen: u16) {
        let mut datum = Vec::new();
        Encoder::compile(&schema).encode(&value, &mut datum).unwrap();
        let all = paths(&schema);
        let some: Vec<_> = (0..all.len()).filter(|i| chosen >> i & 1 == 1).collect();
        let picked: Vec<_> = some.iter().rev().map(|&i| all[i].clone()).collect();
        let (every, few) = (
            Projection::compile(&schema, &schema, &all).unwrap(),
            Projection::compile(&schema, &schema, &picked).unwrap(),
        );
        let (mut every_slot, mut few_slots) = (Vec::new(), Vec::new());
        every.read(&datum, &mut every_slot).unwrap();
        prop_assert_eq!(few.read(&datum, &mut few_slots), Ok(datum.len()));
        for (&i, slot) in some.iter().rev().zip(&few_slots) {
            prop_assert_eq!(&every_slot[i], slot);
        }
    }

    /// A datum that is cut or damaged is refused or read, and never more than that.
    #[test]
    fn damage_is_found_or_harmless((schema, value) in record(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut datum = Vec::new();
        Encoder::compile(&schema).encode(&value, &mut datum).unwrap();
        if datum.is_empty() {
            return Ok(());
        }
        let at = at.index(datum.len());
        if cut { datum.truncate(at) } else { datum[at] = byte }
        let is_valid = Validator::compile(&schema).validate(&datum).is_ok();
        prop_assert!(!(cut && is_valid), "a cut datum is whole");
        let projection = Projection::compile(&schema, &schema, &paths(&schema)).unwrap();
        let mut slots = Vec::new();
        let read = projection.read(&datum, &mut slots);
        prop_assert_eq!(to_json(&schema, &datum).is_ok(), is_valid, "{:?}", datum);
        if is_valid {
            prop_assert_eq!(read, Ok(datum.len()));
        }
    }
}
