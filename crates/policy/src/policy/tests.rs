use cel::{Context, Program, Value};
use millrace_schema::json;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const V1: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"uid","type":"string"},
    {"name":"org","type":["null","string"],"default":null},
    {"name":"size","type":"int"},
    {"name":"spf_result","type":["null",{"type":"enum","name":"Spf","symbols":["pass","fail"]}]},
    {"name":"gone","type":"string"},
    {"name":"files","type":{"type":"array","items":{"type":"record","name":"File","fields":[{"name":"bytes","type":"int"}]}}}
]}"#;

/// `size` is promoted, `spf` has an alias, `hops` has a default, `note` has none and is optional, `gone` is gone.
const V2: &str = r#"{"type":"record","name":"Mail","fields":[
    {"name":"uid","type":"string"},
    {"name":"org","type":["null","string"],"default":null},
    {"name":"size","type":["null","long"],"default":null},
    {"name":"spf","aliases":["spf_result"],"type":["null",{"type":"enum","name":"Spf","symbols":["pass","fail"]}]},
    {"name":"hops","type":"int","default":7},
    {"name":"ratio","type":["null","double"],"default":null},
    {"name":"bulk","type":["null","boolean"],"default":null},
    {"name":"files","type":{"type":"array","items":{"type":"record","name":"File","fields":[
        {"name":"bytes","type":"int"},{"name":"name","type":["null","string"],"default":null}]}}}
]}"#;

fn rule(name: &str, when: &str, action: Action) -> Rule {
    Rule { name: name.into(), when: when.into(), action, labels: vec![format!("by-{name}")] }
}

fn rules(when: &str) -> Vec<Rule> {
    vec![rule("first", when, Action::Quarantine), rule("default", "true", Action::Pass)]
}

fn alert(group_by: &[&str]) -> Alert {
    let text = json!({"name": "told", "on": "quarantine", "notify": ["ops"], "group_by": group_by});
    serde_json::from_value(text).unwrap()
}

fn encode(schema: &Schema, event: &serde_json::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    json::Encoder::compile(schema).encode(event, &mut bytes).unwrap();
    bytes
}

fn mail() -> serde_json::Value {
    json!({"uid": "u1", "org": "acme", "size": 10, "spf": null, "hops": 1, "ratio": null, "bulk": null, "files": []})
}

/// Whether the condition holds for a V2 event, and whether it erred.
fn holds(when: &str, event: &serde_json::Value, score: f64) -> (bool, bool) {
    let schema = Schema::parse(V2).unwrap();
    let policy = Policy::compile(&rules(when), &[], &schema).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
    let plan = policy.plan(&schema).unwrap();
    let bytes = encode(&schema, event);
    let judgement = policy.judge(&plan, &bytes, score).unwrap();
    (judgement.rule == 0, !judgement.errored.is_empty())
}

#[test]
fn the_first_rule_that_matches_decides() {
    let schema = Schema::parse(V2).unwrap();
    let rules = [
        rule("spoof", "score >= 0.95", Action::Quarantine),
        rule("suspicious", "score >= 0.70", Action::Label),
        rule("default", "true", Action::Pass),
    ];
    let policy = Policy::compile(&rules, &[], &schema).unwrap();
    let plan = policy.plan(&schema).unwrap();
    let bytes = encode(&schema, &mail());
    let of = |score| {
        let it = policy.judge(&plan, &bytes, score).unwrap();
        (it.name.to_owned(), it.action, it.labels.to_vec())
    };
    assert_eq!(of(0.95), ("spoof".into(), Action::Quarantine, vec!["by-spoof".into()]));
    assert_eq!(of(0.949), ("suspicious".into(), Action::Label, vec!["by-suspicious".into()]));
    assert_eq!(of(0.1).1, Action::Pass);
    assert_eq!(of(f64::NAN).0, "default", "a score that is no number errs in each comparison");
}

#[test]
fn a_rule_that_fails_at_run_time_does_not_match_and_is_told() {
    assert_eq!(holds("event.ratio > 3.0", &mail(), 0.5), (false, true));
    assert_eq!(holds("event.ratio > 3.0 && score > 0.9", &mail(), 0.5), (false, false), "false wins over an error");
    assert_eq!(holds("event.ratio > 3.0 || score > 0.1", &mail(), 0.5), (true, false), "so does true");
    assert_eq!(holds("10 / (event.hops - 1) > 1", &mail(), 0.5), (false, true));
    assert_eq!(holds("event.files[0].bytes > 1", &mail(), 0.5), (false, true));
}

#[test]
fn null_is_equal_to_null_and_not_there() {
    assert_eq!(holds("event.spf == null && !has(event.spf) && has(event.uid)", &mail(), 0.5), (true, false));
    assert_eq!(holds("event.spf == 'fail'", &mail(), 0.5), (false, false));
    assert_eq!(holds("event.spf != 'fail'", &mail(), 0.5), (true, false));
}

#[test]
fn arrays_of_records_are_searched() {
    let mut event = mail();
    event["files"] = json!([{"bytes": 5, "name": "a.txt"}, {"bytes": 500, "name": null}]);
    assert_eq!(holds("event.files.exists(f, f.bytes > 100 && f.name == null)", &event, 0.5), (true, false));
    assert_eq!(holds("event.files.exists(f, has(f.name) && f.name.endsWith('.exe'))", &event, 0.5), (false, false));
    assert_eq!(holds("event.files.all(f, f.bytes > 1) && event.files.size() == 2", &event, 0.5), (true, false));
    assert_eq!(holds("size(event.files.filter(f, f.bytes > 100)) == 1", &event, 0.5), (true, false));
}

#[test]
fn events_of_an_older_version_are_seen_as_the_newest_has_them() {
    let (old, new) = (Schema::parse(V1).unwrap(), Schema::parse(V2).unwrap());
    let event =
        json!({"uid": "u", "org": "acme", "size": 9, "spf_result": "fail", "gone": "x", "files": [{"bytes": 3}]});
    let bytes = encode(&old, &event);
    for (when, expected) in [
        ("event.size > 8 && event.size < 10", true),
        ("event.spf == 'fail'", true),
        ("event.hops == 7", true),
        ("event.ratio == null && !has(event.bulk)", true),
        ("event.files.exists(f, f.bytes == 3)", true),
        ("event.files.exists(f, has(f.name))", false),
    ] {
        let policy = Policy::compile(&rules(when), &[alert(&["event.org", "event.hops"])], &new).unwrap();
        let judgement_of = policy.plan(&old).unwrap();
        let judgement = policy.judge(&judgement_of, &bytes, 0.5).unwrap();
        assert_eq!((judgement.rule == 0, judgement.errored.len()), (expected, 0), "{when}");
        if expected {
            let group = vec![("event.org", "acme".to_owned()), ("event.hops", "7".to_owned())];
            assert_eq!(judgement.alerts, [Raised { name: "told", group }]);
        }
    }
}

#[test]
fn bytes_that_do_not_fit_the_schema_are_corrupt() {
    let schema = Schema::parse(V2).unwrap();
    let policy = Policy::compile(&rules("event.hops > 3"), &[], &schema).unwrap();
    let plan = policy.plan(&schema).unwrap();
    let mut bytes = encode(&schema, &mail());
    for length in 0..bytes.len() {
        assert!(policy.judge(&plan, &bytes[..length], 0.5).is_err(), "{length} of {} bytes", bytes.len());
    }
    bytes.push(0);
    assert_eq!(policy.judge(&plan, &bytes, 0.5).unwrap_err().what, "bytes behind the event");
}

#[test]
fn all_problems_come_at_once_with_their_places() {
    let schema = Schema::parse(V2).unwrap();
    let rules = [rule("a", "event.no > 3", Action::Pass), rule("b", "score > 'x' && event.hops", Action::Pass)];
    let alerts = [alert(&["event.org", "score", "event.ratio"])];
    let problems = Policy::compile(&rules, &alerts, &schema).err().unwrap();
    let places: Vec<(String, usize)> = problems.iter().map(|it| (it.place.pointer(), it.offset)).collect();
    let expected = [
        ("/spec/policy/0/when", 6),
        ("/spec/policy/1/when", 6),
        ("/spec/policy/1/when", 15),
        ("/spec/policy/1/when", 0),
        ("/spec/alerts/0/group_by/1", 0),
        ("/spec/alerts/0/group_by/2", 0),
    ];
    assert_eq!(places, expected.map(|(place, offset)| (place.to_owned(), offset)), "{problems:?}");
    let shown = problems[0].to_string();
    assert_eq!(shown, "$.spec.policy[0].when: character 7: `Mail` has no field `no`");
    assert_eq!(Policy::compile(&[], &[], &schema).err().unwrap()[0].place, Place::Policy);
}

#[test]
fn the_revision_is_that_of_the_rules_and_the_alerts_and_of_nothing_else() {
    let schema = Schema::parse(V2).unwrap();
    let of = |when: &str, alerts: &[Alert], schema: &Schema| {
        Policy::compile(&rules(when), alerts, schema).unwrap().revision().to_owned()
    };
    let base = of("score > 0.5", &[], &schema);
    assert_eq!(base.len(), 64);
    assert_eq!(base, of("score > 0.5", &[], &Schema::parse(V1).unwrap()));
    assert_ne!(base, of("score > 0.6", &[], &schema));
    assert_ne!(base, of("score > 0.5", &[alert(&[])], &schema));
}

/// Conditions over scalars and lists of the event; `event` is V2.
fn condition() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("score".to_owned()),
        Just("event.size".to_owned()),
        Just("event.hops".to_owned()),
        Just("event.ratio".to_owned()),
        (-3_i32..12).prop_map(|it| it.to_string()),
        (-3_i32..12).prop_map(|it| format!("{it}.5")),
    ];
    let text = prop_oneof![
        Just("event.uid".to_owned()),
        Just("event.org".to_owned()),
        Just("event.spf".to_owned()),
        Just("'pass'".to_owned()),
        "[a-c]{0,2}".prop_map(|it| format!("dyn('{it}')")),
    ];
    let sign = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let method = prop::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]);
    let leaf = prop_oneof![
        (number.clone(), sign.clone(), number.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (text.clone(), sign, text.clone()).prop_map(|(a, sign, b)| format!("dyn({a}) {sign} dyn({b})")),
        (text.clone(), method, "[a-c]{0,2}").prop_map(|(a, method, b)| format!("{a}.{method}('{b}')")),
        (number.clone(), prop::collection::vec(-3_i32..12, 0..4)).prop_map(|(a, list)| format!("{a} in {list:?}")),
        (text.clone(), number.clone()).prop_map(|(text, number)| format!("size({text}) > {number}")),
        (text, prop::sample::select(vec!["null", "true"])).prop_map(|(text, it)| format!("dyn({text}) == {it}")),
        number.prop_map(|it| format!("event.files.exists(f, f.bytes > {it})")),
        Just("event.bulk".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn event() -> impl Strategy<Value = serde_json::Value> {
    let word = "[a-c]{0,3}";
    (
        (word, prop::option::of(word), prop::option::of(-3_i64..12), -3_i32..12),
        prop::option::of(-30_i32..120),
        prop::option::of(any::<bool>()),
        prop::option::of(prop::sample::select(vec!["pass", "fail"])),
        prop::collection::vec((-3_i32..12, prop::option::of(word)), 0..3),
    )
        .prop_map(|((uid, org, size, hops), ratio, bulk, spf, files)| {
            let files: Vec<_> = files.into_iter().map(|(bytes, name)| json!({"bytes": bytes, "name": name})).collect();
            let ratio = ratio.map(|it| f64::from(it) / 10.0);
            json!({"uid": uid, "org": org, "size": size, "spf": spf, "hops": hops, "ratio": ratio, "bulk": bulk, "files": files})
        })
}

/// What cel makes of the untouched text over the event as a plain map.
fn by_cel(when: &str, event: &serde_json::Value, score: f64) -> Option<bool> {
    let mut context = Context::default();
    context.add_variable("event", event).unwrap();
    context.add_variable("score", score).unwrap();
    match Program::compile(when).unwrap().execute(&context) {
        Ok(Value::Bool(it)) => Some(it),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn evaluation_agrees_with_cel_over_a_plain_map(when in condition(), event in event(), score in 0.0..1.0_f64) {
        let expected = by_cel(&when, &event, score);
        let (held, erred) = holds(&when, &event, score);
        prop_assert_eq!((held, erred), (expected == Some(true), expected.is_none()), "{}", when);
    }
}
