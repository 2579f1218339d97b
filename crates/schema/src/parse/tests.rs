use crate::{Kind, Logical, Schema, Type};

fn error(text: &str) -> String {
    Schema::parse(text).expect_err(text).to_string()
}

#[test]
fn names_are_resolved_by_namespace_and_may_recur() {
    let schema = Schema::parse(
        r#"{"type":"record","name":"Tree","namespace":"a.b","fields":[
            {"name":"left","type":["null","Tree"],"default":null},
            {"name":"kind","type":{"type":"enum","name":"c.Kind","symbols":["X"]}},
            {"name":"again","type":["c.Kind","a.b.Tree"]}]}"#,
    )
    .unwrap();
    let tree = schema.root_node().record().unwrap();
    let Kind::Union(branches) = &schema.node(tree.fields[0].node).kind else { panic!() };
    assert_eq!(branches[1], schema.root());
    let Kind::Union(branches) = &schema.node(tree.fields[2].node).kind else { panic!() };
    assert_eq!(branches, &[tree.fields[1].node, schema.root()]);
}

#[test]
fn a_name_without_a_namespace_is_found_from_within_one() {
    let outer = r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":{"type":"fixed","name":"F","size":1}},
        {"name":"b","type":{"type":"record","name":"x.S","fields":[{"name":"f","type":"F"}]}}]}"#;
    assert!(Schema::parse(outer).is_ok());
}

#[test]
fn logical_types_are_known_where_they_are_valid() {
    let logical = |text: &str| Schema::parse(text).unwrap().root_node().logical;
    assert_eq!(logical(r#"{"type":"long","logicalType":"timestamp-millis"}"#), Some(Logical::TimestampMillis));
    assert_eq!(logical(r#"{"type":"int","logicalType":"timestamp-millis"}"#), None);
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
    assert_eq!(logical(decimal), Some(Logical::Decimal { precision: 4, scale: 2 }));
    assert_eq!(logical(r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":4}"#), None);
    assert_eq!(logical(r#"{"type":"fixed","name":"f","size":2,"logicalType":"decimal","precision":5}"#), None);
}

#[test]
fn defaults_may_be_any_branch_of_a_union_and_texts_for_floats() {
    for (ty, default) in [
        (r#"["null","int"]"#, "5"),
        (r#""double""#, r#""NaN""#),
        (r#""bytes""#, r#""\u00ff""#),
        (r#"{"type":"fixed","name":"F","size":2}"#, r#""\u00ff\u0000""#),
        (r#"{"type":"array","items":"long"}"#, "[1,2]"),
        (r#"{"type":"record","name":"S","fields":[{"name":"x","type":"int","default":1}]}"#, "{}"),
    ] {
        let text =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{ty},"default":{default}}}]}}"#);
        assert!(Schema::parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, expected) in [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("1", "a schema is a name, an object or a list"),
        (r#""Foo""#, r#"type "Foo" is not defined before its use"#),
        (r#"{"type":{"type":"string"}}"#, "/type: the type of a schema is a name"),
        (r#"{"type":"array"}"#, r#"this type needs "items""#),
        (r#"["int",["null"]]"#, "/1: a union cannot hold a union"),
        (r#"["int",{"type":"int","logicalType":"date"}]"#, "/1: a union cannot hold int twice"),
        (r#"{"type":"enum","name":"E","symbols":["A","B","A"]}"#, r#"/symbols/2: symbol "A" is there already"#),
        (r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#, r#"/default: "B" is not among the symbols"#),
        (r#"{"type":"fixed","name":"F","size":-1}"#, r#"a fixed needs a "size", a number from 0 to 2147483647"#),
        (
            r#"{"type":"record","name":"long","fields":[]}"#,
            r#"/name: "long" is a primitive type and cannot be defined"#,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a-b","type":"int"}]}"#,
            r#"/fields/0/name: "a-b" is not a name: a letter or _, then letters, digits and _"#,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            r#"/fields/1/name: field "a" is there already"#,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"map","values":"X"}}]}"#,
            r#"/fields/0/type/values: type "X" is not defined before its use"#,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"],"default":"x"}]}"#,
            r#"/fields/0/default: "x" is not a value of the union of null, int"#,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#,
            "/fields/0/default: {} is not a value of record R",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"r","type":{"type":"fixed","name":"R","size":1}}]}"#,
            r#"/fields/0/type/name: type "R" is defined already"#,
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let text = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(10_000), "}".repeat(10_000));
    assert!(error(&text).starts_with("not JSON: recursion limit exceeded"));
}

#[test]
fn references_bring_their_types() {
    let money =
        Schema::parse(r#"{"type":"record","name":"m.Money","fields":[{"name":"cents","type":"long"}]}"#).unwrap();
    let item =
        r#"{"type":"record","name":"m.Item","fields":[{"name":"price","type":"Money"},{"name":"n","type":"long"}]}"#;
    assert!(Schema::parse(item).is_err());
    let item = Schema::parse_with(item, std::slice::from_ref(&money)).unwrap();
    let order =
        r#"{"type":"record","name":"m.Order","fields":[{"name":"item","type":"Item"},{"name":"sum","type":"Money"}]}"#;
    let order = Schema::parse_with(order, &[money, item]).unwrap();
    assert_eq!(
        order.java_string(),
        r#"{"type":"record","name":"Order","namespace":"m","fields":[{"name":"item","type":"Item"},{"name":"sum","type":"Money"}]}"#
    );
    let alone = Schema::parse(&order.standalone()).unwrap();
    assert_eq!(alone.canonical(), order.canonical());
    assert_eq!(alone.root_node().ty(), Type::Record);

    let other =
        Schema::parse(r#"{"type":"record","name":"m.Money","fields":[{"name":"euro","type":"long"}]}"#).unwrap();
    let message = Schema::parse_with(r#""m.Money""#, &[order, other]).unwrap_err().to_string();
    assert_eq!(message, r#"two references define "m.Money" differently"#);
}
