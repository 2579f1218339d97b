use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn record(fields: &str) -> Schema {
    schema(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#))
}

const A: &str = r#"{"name":"a","type":"int"}"#;
const B: &str = r#"{"name":"b","type":"int"}"#;
const B0: &str = r#"{"name":"b","type":"int","default":0}"#;

fn kinds(reader: &str, writer: &str) -> Vec<(IncompatibilityKind, String)> {
    can_read(&schema(reader), &schema(writer)).into_iter().map(|it| (it.kind, it.path)).collect()
}

/// One of each rule; Java's pairs run in `tests/it/vectors.rs` where their file is found.
#[test]
fn each_rule_has_its_kind_and_its_place() {
    use IncompatibilityKind as Is;
    for (reader, writer, expected) in [
        (r#""long""#, r#""int""#, vec![]),
        (r#""int""#, r#""long""#, vec![(Is::TypeMismatch, "")]),
        (r#""string""#, r#""bytes""#, vec![]),
        (r#"["long"]"#, "[]", vec![]),
        (r#""float""#, r#"["int","float"]"#, vec![]),
        (r#"["int"]"#, r#"["int","null"]"#, vec![(Is::MissingUnionBranch, "")]),
        (r#"{"type":"array","items":"int"}"#, r#"{"type":"array","items":"long"}"#, vec![(Is::TypeMismatch, "/items")]),
        (
            r#"{"type":"fixed","name":"F","size":1}"#,
            r#"{"type":"fixed","name":"F","size":2}"#,
            vec![(Is::FixedSizeMismatch, "/size")],
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            vec![(Is::MissingEnumSymbols, "/symbols")],
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#,
            r#"{"type":"enum","name":"E","symbols":["B"]}"#,
            vec![],
        ),
        (r#"{"type":"fixed","name":"x.F","size":1}"#, r#"{"type":"fixed","name":"y.F","size":1}"#, vec![]),
        (
            r#"{"type":"fixed","name":"G","size":1}"#,
            r#"{"type":"fixed","name":"F","size":1}"#,
            vec![(Is::NameMismatch, "/name")],
        ),
        (r#"{"type":"fixed","name":"G","size":1,"aliases":["F"]}"#, r#"{"type":"fixed","name":"F","size":1}"#, vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(kind, path)| (kind, path.to_owned())).collect();
        assert_eq!(kinds(reader, writer), expected, "{reader} reads {writer}");
    }
}

#[test]
fn a_branch_that_changed_says_what_changed_in_it() {
    let nullable =
        |ty: &str| format!(r#"["null",{{"type":"record","name":"S","fields":[{{"name":"x","type":"{ty}"}}]}}]"#);
    assert_eq!(
        kinds(&nullable("int"), &nullable("string")),
        [(IncompatibilityKind::TypeMismatch, "/1/fields/0/type".into())]
    );
}

#[test]
fn renamed_fields_are_read_by_their_aliases() {
    let renamed = record(r#"{"name":"c","type":"int","aliases":["a"]}"#);
    assert!(can_read(&renamed, &record(A)).is_empty());
    let back = can_read(&record(A), &renamed);
    assert_eq!(
        back[0].to_string(),
        "READER_FIELD_MISSING_DEFAULT_VALUE at /fields/0: field \"a\" has no default, and the data do not hold it"
    );
}

#[test]
fn types_that_hold_themselves_are_compared_once() {
    let list = |ty: &str| {
        format!(
            r#"{{"type":"record","name":"List","fields":[{{"name":"head","type":"{ty}"}},{{"name":"tail","type":["null","List"]}}]}}"#
        )
    };
    assert!(kinds(&list("long"), &list("int")).is_empty());
    assert_eq!(kinds(&list("int"), &list("long")), [(IncompatibilityKind::TypeMismatch, "/fields/0/type".into())]);
}

#[test]
fn levels_look_forward_backward_and_at_all_versions() {
    let old = [record(A), record(&format!("{A},{B0}"))];
    let required = record(&format!("{A},{B}"));
    let verdict = |level: &str, new: &Schema| check(level.parse().unwrap(), new, &old).is_empty();
    assert!(verdict("NONE", &schema(r#""int""#)));
    assert!(verdict("BACKWARD", &required), "the latest has b");
    assert!(!verdict("BACKWARD_TRANSITIVE", &required), "the first lacks b");
    assert!(verdict("FORWARD", &required) && verdict("FORWARD_TRANSITIVE", &required) && verdict("FULL", &required));
    assert!(!verdict("FULL_TRANSITIVE", &required));
    let without_a = record(B0);
    assert!(verdict("BACKWARD_TRANSITIVE", &without_a));
    assert!(!verdict("FORWARD", &without_a));
    assert!(check(Level::FullTransitive, &without_a, &[]).is_empty());
    let told = check(Level::BackwardTransitive, &required, &old);
    assert_eq!(
        told[0].message,
        "the new schema cannot read data of number 1: field \"b\" has no default, and the data do not hold it"
    );
}

#[test]
fn levels_are_spelled_as_confluent_spells_them() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert!("backward".parse::<Level>().is_err());
}

/// Each type is used twice by the next: a naive comparison would take two to the power of fifty steps.
#[test]
fn shared_types_are_not_compared_again_and_again() {
    let chain = |leaf: &str| {
        let mut types = vec![format!(r#"{{"type":"record","name":"T0","fields":[{{"name":"x","type":"{leaf}"}}]}}"#)];
        types.extend((1..=50).map(|i| {
            let below = format!(r#"["null","T{}"]"#, i - 1);
            let fields = format!(r#"{{"name":"l","type":{below}}},{{"name":"r","type":{below}}}"#);
            format!(r#"{{"type":"record","name":"T{i}","fields":[{fields}]}}"#)
        }));
        format!("[{}]", types.join(","))
    };
    assert!(kinds(&chain("long"), &chain("int")).is_empty());
    assert!(kinds(&chain("int"), &chain("long")).len() <= 51 * 100);
}
