use millrace_proto::scheduler::v1::StartRequest;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::*;

fn there_and_back(json: &Json) -> Json {
    to_json(to_proto(json).unwrap()).unwrap()
}

fn number_of(double: f64) -> Result<Json, Misfit> {
    to_json(Proto { kind: Some(Kind::NumberValue(double)) })
}

/// Everything that a message carries: integers that are doubles, and doubles that are no integers.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Json::from),
        any::<f64>().prop_filter("no integer", |it| it.is_finite() && it.fract() != 0.0).prop_map(Json::from),
        ".*".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::btree_map(".*", inner, 0..8).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_carried_comes_back(json in any_json()) {
        prop_assert_eq!(there_and_back(&json), json);
    }
}

#[test]
fn whole_numbers_are_integers_again() {
    assert_eq!(number_of(3.0).unwrap().to_string(), "3");
    assert_eq!(number_of(-0.0).unwrap().to_string(), "0");
    assert_eq!(number_of(0.5).unwrap().to_string(), "0.5");
    assert_eq!(number_of(-BEYOND).unwrap(), json!(i64::MIN));
    assert_eq!(number_of(BEYOND).unwrap(), json!(BEYOND));
    for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(number_of(none).is_err());
    }
}

#[test]
fn whole_numbers_are_integers_in_everything() {
    let json = json!({"a": [3.0, 0.5, 7, 1e99], "b": {"c": -2.0}});
    assert_eq!(whole(json).to_string(), r#"{"a":[3,0.5,7,1e+99],"b":{"c":-2}}"#);
}

#[test]
fn a_whole_number_that_is_no_double_is_refused_with_its_place() {
    for carried in
        [json!(1_u64 << 53), json!((1_u64 << 53) + 2), json!(1_i64 << 62), json!(i64::MIN), json!(1_u64 << 63)]
    {
        assert!(to_proto(&carried).is_ok(), "{carried}");
    }
    for refused in [json!((1_u64 << 53) + 1), json!(i64::MAX), json!(u64::MAX)] {
        assert!(to_proto(&refused).is_err(), "{refused}");
    }
    let misfit = to_proto(&json!({"a/b": [0, (1_u64 << 53) + 1]})).unwrap_err();
    assert_eq!(misfit.pointer, "/a~1b/1");
    assert!(misfit.problem.contains("give it as text"));
}

#[test]
fn what_is_nested_too_deep_to_be_read_again_is_refused() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
    let message = to_proto(&nested(MAX_DEPTH)).unwrap();
    // As it is sent: within a message.
    let sent = StartRequest { spec: Some(message.clone()), ..StartRequest::default() }.encode_to_vec();
    let read = StartRequest::decode(sent.as_slice()).unwrap();
    assert_eq!(read.spec, Some(message));
    assert!(to_proto(&nested(MAX_DEPTH + 1)).unwrap_err().problem.contains("nested"));
}
