use super::*;

const MAIL: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"uid","type":"string"},
    {"name":"size","type":["null","long"],"default":null},
    {"name":"hops","type":"int"},
    {"name":"ratio","type":"float"},
    {"name":"spf","type":["null",{"type":"enum","name":"Spf","symbols":["pass","fail"]}]},
    {"name":"digest","type":"bytes"},
    {"name":"tags","type":{"type":"array","items":"string"}},
    {"name":"headers","type":{"type":"map","values":"int"}},
    {"name":"client","type":["null",{"type":"record","name":"Client","fields":[{"name":"ip","type":"string"}]}]},
    {"name":"files","type":{"type":"array","items":{"type":"record","name":"File","fields":[
        {"name":"name","type":["null","string"]},{"name":"bytes","type":"long"}]}}},
    {"name":"mixed","type":["int","string"]}
]}"#;

fn checked(text: &str) -> Result<(IdedExpr, Symbols), Vec<Finding>> {
    let schema = Schema::parse(MAIL).unwrap();
    let mut symbols = Symbols::default();
    check(text, &schema, &mut symbols).map(|expr| (expr, symbols))
}

#[track_caller]
fn refused(text: &str, offset: usize, part: &str) {
    let findings = checked(text).err().unwrap_or_else(|| panic!("{text} was accepted"));
    assert_eq!(findings.len(), 1, "{text}: {findings:?}");
    assert_eq!(findings[0].0, offset, "{text}: {findings:?}");
    assert!(findings[0].1.contains(part), "{text}: {findings:?}");
}

#[test]
fn what_fits_the_schema_is_accepted() {
    for text in [
        "true",
        "score >= 0.95 && event.size > 3",
        "event.size > 2.5 || event.ratio < 1",
        "event.spf == 'fail' || event.spf == null",
        "event.spf in ['fail', 'pass'] && !(event.hops in [1, 2, 3])",
        "event.uid.startsWith('a') && event.uid.endsWith('b') && event.uid.contains('c') && size(event.uid) < 9",
        "event.uid.matches('^[a-z]+$') && event.uid.size() > 1",
        "'x' in event.tags && event.tags[0] == 'y' && event.tags.size() == 2",
        "'x' in event.headers && event.headers['x'] > 3 && event.headers.x > 3",
        "event.client.ip == '::1' && has(event.client) && has(event.client.ip)",
        "event['client']['ip'] == '::1' && event['uid'] != ''",
        "event.files.exists(f, f.bytes > 10 && f.name.endsWith('.exe'))",
        "event.files.all(f, has(f.name)) && event.tags.exists_one(t, t == 'x')",
        "event.files.filter(f, f.bytes > 3).map(f, f.bytes)[0] == 4",
        "event.mixed == 3 || event.mixed == 'x'",
        "(event.hops > 3 ? 'a' : 'b') == 'a'",
        "double(event.hops) * 0.5 > score",
        "event.hops + 1 > 2 && event.hops % 2 == 0 && -event.hops < 0",
        "event.digest == b'abc' && type(event.hops) == int",
        "score > 0.5 ? event.hops > 1 : false",
    ] {
        assert!(checked(text).is_ok(), "{text}: {:?}", checked(text).err());
    }
}

#[test]
fn names_that_are_not_there_are_refused_at_their_place() {
    refused("event.sise > 3", 6, "`Mail` has no field `sise`");
    refused("score > 0.9 && event.client.port == 1", 28, "`Client` has no field `port`");
    refused("event.files.exists(f, f.nam == 'x')", 24, "`File` has no field `nam`");
    refused("scores > 0.9", 0, "unknown variable `scores`");
    refused("size > 3", 0, "write `event.size`");
    refused("event.uid.startWith('x')", 19, "unknown function `startWith`");
    refused("lower(event.uid) == 'x'", 5, "unknown function `lower`");
    refused("event.uid.size.x == 1", 10, "string has no field `size`");
}

#[test]
fn types_that_cannot_work_are_refused_at_their_place() {
    refused("event.uid > 3", 10, "string > int cannot be compared");
    refused("event.uid == 3", 10, "string == int is never equal");
    refused("event.hops + 0.5 > 1.0", 11, "int + double is not defined: convert one");
    refused("event.hops && true", 0, "&& takes bool, got int");
    refused("!event.uid", 1, "! takes bool, got string");
    refused("event.size.contains('x')", 19, "`contains` is not defined for (int, string)");
    refused("'a' in event.uid", 4, "`in` takes a list or a map");
    refused("3 in event.tags", 2, "int is never in list(string)");
    refused("event.spf == 'softfail'", 13, "`Spf` has no symbol \"softfail\": pass, fail");
    refused("event.spf in ['pass', 'none']", 22, "no symbol \"none\"");
    refused("event.uid.matches('(')", 18, "not a regular expression");
    refused("event == 3", 0, "name one of its fields");
    refused("null > 3", 5, "null > int");
    refused("event.hops", 0, "a condition must be bool, this is int");
    refused("score", 0, "a condition must be bool, this is double");
    refused("event.hops.exists(x, x > 1)", 0, "expected a list or a map, got int");
    refused("event.tags.exists(event, event == 'x')", 0, "`event` is taken");
}

#[test]
fn text_that_is_no_expression_is_refused_at_its_place() {
    for (text, offset) in [("score >", 7), ("score >= 0.9 &&& true", 15), ("", 0), ("score >\n  ) 1", 10)] {
        let findings = checked(text).err().unwrap_or_else(|| panic!("{text:?} was accepted"));
        assert_eq!(findings[0].0, offset, "{text:?}: {findings:?}");
    }
}

#[test]
fn offsets_count_characters_and_not_bytes() {
    refused("'äöü' == event.uid && event.no", 28, "no field `no`");
    let findings = checked("'äöü' == event.uid &&& true").err().unwrap();
    assert_eq!(findings[0].0, 21, "{findings:?}");
}

#[test]
fn each_field_is_read_once_and_only_those_that_are_used() {
    let (_, symbols) =
        checked("event.client.ip == 'x' && event.hops > 1 || event['hops'] > 2 || has(event.uid)").unwrap();
    let fields: Vec<String> = symbols.fields.iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["$.client.ip", "$.hops", "$.uid"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_checker_panic(text in "[ -~]{0,40}") {
        let _ = checked(&text);
    }

    #[test]
    fn no_combination_of_our_words_makes_the_checker_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "event", ".", "uid", "size", "score", "(", ")", "[", "]", "'x'", "1", "0.5", "==", ">", "&&", "||", "!", "in", ",",
        "has", "exists", "x", "matches", "?", ":", "null", "{", "}", "-", "tags", "files",
    ]), 0..14)) {
        let _ = checked(&words.concat());
    }
}
