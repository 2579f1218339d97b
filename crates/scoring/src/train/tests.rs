use millrace_core::document::Source;
use millrace_schema::{FieldPath, Schema, wire};

use super::*;

const SCHEMA: &str = r#"{"type": "record", "name": "Visit", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "who", "type": "string"},
    {"name": "label", "type": ["null", "string"]}
]}"#;

const FEATURES: &str = "\
apiVersion: millrace.dev/v1
kind: Features
metadata: {name: visits}
spec:
  features:
    - {name: seen, op: seen, of: who}
    - {name: rate, op: category, of: who, smoothing: 1}
";

fn document() -> Document {
    Document::parse(&Source::parse("features.yaml", FEATURES).unwrap()).unwrap()
}

/// Records of (second, who, label), added in this order.
fn corpus(records: &[(i64, &str, &str)], window: Window) -> Corpus {
    let schema = Schema::parse(SCHEMA).unwrap();
    let labels = Labels {
        time: FieldPath::parse("at").unwrap(),
        field: FieldPath::parse("label").unwrap(),
        positive: vec!["bad".to_owned()],
        negative: vec!["good".to_owned()],
    };
    let mut corpus = Corpus::new(schema.clone(), labels, window).unwrap();
    let writer = corpus.writer(&schema).unwrap();
    for (second, who, label) in records {
        let mut datum = Vec::new();
        wire::put_long(&mut datum, second * 1_000_000);
        wire::put_str(&mut datum, who);
        wire::put_long(&mut datum, 1);
        wire::put_str(&mut datum, label);
        corpus.add(writer, &datum).unwrap();
    }
    corpus
}

/// The column `seen` of the rows of all records, as counts.
fn seen(records: &[(i64, &str, &str)]) -> Vec<f32> {
    let corpus = corpus(records, Window::default());
    let program = Program::compile(&document(), corpus.schema()).unwrap();
    let timeline = Timeline::of(&corpus);
    let mut past = Past::new(&program, &corpus, &timeline).unwrap();
    past.rows(0..timeline.len()).unwrap().matrix.column(0).iter().map(|x| x.exp2() - 1.0).collect()
}

#[test]
fn a_row_knows_only_what_was_before_it() {
    // Added out of order; the two at 20 happen at once; the unlabelled one counts and makes no row.
    let records = [
        (40, "ann", "good"),
        (10, "ann", "bad"),
        (20, "ann", "good"),
        (20, "ann", "bad"),
        (30, "ann", "unknown"),
        (50, "bob", "good"),
    ];
    let rounded: Vec<i32> = seen(&records).iter().map(|x| x.round() as i32).collect();
    assert_eq!(rounded, [0, 1, 1, 4, 0]);
}

#[test]
fn what_comes_later_changes_no_row() {
    let records = [(1, "ann", "good"), (2, "bob", "bad"), (3, "ann", "bad"), (4, "ann", "good")];
    for end in 1..records.len() {
        assert_eq!(seen(&records)[..end], seen(&records[..end]));
    }
}

#[test]
fn a_window_leaves_out_what_is_not_of_it() {
    let window = Window { since: Window::instant("1970-01-01T00:00:02Z").unwrap(), until: 4_000 };
    let records = [(1, "a", "good"), (2, "a", "good"), (3, "a", "bad"), (4, "a", "good")];
    assert_eq!(corpus(&records, window).len(), 2);
    assert!(Window::instant("yesterday").is_err());
}

#[test]
fn cuts_are_by_labelled_records_and_never_part_an_instant() {
    let records: Vec<(i64, &str, &str)> =
        (0..10).map(|i| (i / 2, "a", if i < 8 { "good" } else { "unknown" })).collect();
    let corpus = corpus(&records, Window::default());
    let timeline = Timeline::of(&corpus);
    assert_eq!(timeline.cuts(0.0, 0.25).unwrap(), (0, 6));
    assert_eq!(timeline.cuts(0.5, 0.1).unwrap(), (4, 6), "the eighth shares its instant with the seventh");
    assert!(timeline.cuts(0.0, 0.0).is_err());
}

#[test]
fn the_baselines_of_a_bundle_hold_everything() {
    let names = ["ann", "bob", "eve"];
    let records: Vec<(i64, &str, &str)> =
        (0..300).map(|i| (i, names[i as usize % 3], if i % 3 == 2 { "bad" } else { "good" })).collect();
    let corpus = corpus(&records, Window::default());
    let bundle = train(&Settings::default(), &document(), &corpus).unwrap();
    let [seen, rate] = bundle.baselines().tables() else { panic!("two tables") };
    assert_eq!((seen.total().seen, rate.total().seen, rate.total().positive), (300, 300, 100));
    let training = &bundle.manifest().training;
    assert_eq!((training.records, training.labelled, training.positives), (300, 300, 100));
    assert_eq!((training.from.as_str(), training.split.as_str()), ("1970-01-01T00:00:00Z", "1970-01-01T00:04:00Z"));
    assert!(training.metrics.roc_auc > 0.999, "{:?}", training.metrics);
}

#[test]
fn nothing_to_learn_from_is_said() {
    let error = |records: &[(i64, &str, &str)]| {
        train(&Settings::default(), &document(), &corpus(records, Window::default())).unwrap_err().to_string()
    };
    assert_eq!(error(&[]), "0 labelled records are too few to be split by time");
    assert!(error(&[(1, "a", "good"), (2, "a", "good"), (3, "a", "good")]).starts_with("records of both labels"));
}
