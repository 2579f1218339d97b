//! Events judged per second on one core, by the kind of rule; beside it the reading of the fields alone.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use millrace_core::{Action, pipeline::Rule};
use millrace_policy::Policy;
use millrace_schema::{FieldPath, Projection, Schema, json};
use serde_json::{Map, Value, json};

/// What the judge must sustain on a core, with much to spare for Kafka.
const FLOOR: f64 = 50_000.0;

/// As many fields as the demo's mail record has.
const FIELDS: usize = 69;

fn main() {
    let (schema, event) = mail();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("one of {cores} cores, a record of {FIELDS} fields in {} bytes", event.len());
    println!("{:<44} {:>12} {:>9} {:>8}", "rules", "events/s", "ns/event", "x floor");
    let paths = ["f3", "f40", "f60"].map(|path| FieldPath::parse(path).expect("a name"));
    let projection = Projection::compile(&schema, &schema, &paths).expect("fields of the schema");
    line("(three fields read, nothing judged)", || {
        let mut slots = Vec::with_capacity(paths.len());
        black_box(projection.read(black_box(&event), &mut slots).expect("a whole datum"));
    });
    for (name, conditions) in [
        ("score against two thresholds", &["score >= 0.95", "score >= 0.70"][..]),
        ("score and three fields", &["score >= 0.3 && event.f3 > 5 && event.f40 == 'text 40' && event.f60 != 'x'"]),
        (
            "a list, startsWith, size",
            &["event.f40 in ['a', 'b', 'c'] || event.f60.startsWith('x') || size(event.f4) > 90"],
        ),
        ("a pattern", &["event.f40.matches('^[a-z]+ 4[1-9]$')"]),
        ("ten rules with a field each", &["event.f3 > 900 && score > 0.1"; 10]),
        ("ten rules that err on null", &["event.f6 > 1"; 10]),
    ] {
        let policy = policy(conditions, &schema);
        let plan = policy.plan(&schema).expect("its own schema");
        line(name, || _ = black_box(policy.judge(&plan, black_box(&event), black_box(0.4)).expect("a whole datum")));
    }
}

fn line(name: &str, mut work: impl FnMut()) {
    let begin = Instant::now();
    let mut done = 0_u32;
    while begin.elapsed() < Duration::from_millis(700) {
        (0..500).for_each(|_| work());
        done += 500;
    }
    let rate = f64::from(done) / begin.elapsed().as_secs_f64();
    println!("{name:<44} {rate:>12.0} {:>9.0} {:>8.1}", 1e9 / rate, rate / FLOOR);
}

fn policy(conditions: &[&str], schema: &Schema) -> Policy {
    let rule = |(i, when): (usize, &&str)| Rule {
        name: format!("r{i}"),
        when: (*when).to_owned(),
        action: Action::Quarantine,
        labels: Vec::new(),
    };
    let mut rules: Vec<Rule> = conditions.iter().enumerate().map(rule).collect();
    rules.push(Rule { name: "default".to_owned(), when: "true".to_owned(), action: Action::Pass, labels: Vec::new() });
    Policy::compile(&rules, &[], schema).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A third each of numbers, texts and nulls.
fn mail() -> (Schema, Vec<u8>) {
    let mut fields = Vec::new();
    let mut event = Map::new();
    for i in 0..FIELDS {
        let (ty, value) = match i % 3 {
            0 if i % 2 == 1 => (json!(["null", "long"]), json!(i * 7)),
            1 => (json!("string"), json!(format!("text {i}"))),
            0 if i == 60 => (json!("string"), json!("text 60")),
            _ => (json!(["null", "long"]), Value::Null),
        };
        fields.push(json!({"name": format!("f{i}"), "type": ty}));
        event.insert(format!("f{i}"), value);
    }
    let schema = json!({"type": "record", "name": "Mail", "fields": fields}).to_string();
    let schema = Schema::parse(&schema).expect("a schema");
    let mut bytes = Vec::new();
    json::Encoder::compile(&schema).encode(&Value::Object(event), &mut bytes).expect("an event of the schema");
    (schema, bytes)
}
