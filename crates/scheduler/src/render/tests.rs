use serde_json::json;

use super::*;

fn context() -> Context {
    let at = |text: &str| text.parse().unwrap();
    Context {
        run: Run {
            dag: "hourly".into(),
            binding: Some("acme".into()),
            run_id: "scheduled__2026-01-31T00:00:00Z".into(),
            kind: "scheduled",
            logical_date: Some(at("2026-01-31T00:00:00Z")),
            interval: Some(Interval { start: at("2026-01-31T00:00:00Z"), end: at("2026-01-31T01:00:00Z") }),
            params: json!({"model": "champion", "limit": 5, "rates": {"a": 0.5}}),
        },
        attempt: Attempt {
            task: "score".into(),
            map_index: Some(3),
            item: Some(("shard".into(), json!({"key": "s-3"}))),
            number: 2,
            launched: at("2026-02-01T12:34:56.5Z"),
            token: 42,
        },
        with: json!({"jar": "a.jar"}),
        outputs: [("extract".to_owned(), json!({"shards": ["x", "y"], "rows": 12}))].into(),
        events: Some(vec![
            json!({"source": "s", "id": "7", "type": "", "subject": "", "at": "2026-01-31T00:00:00Z", "data": {"n": 1}}),
        ]),
    }
}

fn rendered(text: &str) -> Json {
    render(&json!(text), &context()).unwrap()
}

#[test]
fn names_are_those_that_airflow_has() {
    let golden = [
        ("{{ ds }}", "2026-01-31"),
        ("{{ ds_nodash }}", "20260131"),
        ("{{ ts }}", "2026-01-31T00:00:00+00:00"),
        ("{{ ts_nodash }}", "20260131T000000"),
        ("{{ ts_nodash_with_tz }}", "20260131T000000+0000"),
        ("{{ logical_date }}", "2026-01-31T00:00:00+00:00"),
        ("{{ data_interval_end }}", "2026-01-31T01:00:00+00:00"),
        ("{{ data_interval_end | ts_nodash }}", "20260131T010000"),
        ("{{ data_interval_start.strftime('%Y/%m/%d/%H') }}", "2026/01/31/00"),
        ("{{ logical_date.add(days=1, hours=2) | ts }}", "2026-02-01T02:00:00+00:00"),
        ("{{ logical_date.subtract(weeks=1) | ds }}", "2026-01-24"),
        ("{{ logical_date.in_timezone('America/New_York') }}", "2026-01-30T19:00:00-05:00"),
        ("{{ '2026-01-31T13:45:00' | ts }}", "2026-01-31T13:45:00+00:00"),
        ("{{ '2026-01-31' | ts }}", "2026-01-31T00:00:00+00:00"),
        ("{{ macros.ds_add(ds, 1) }}", "2026-02-01"),
        ("{{ macros.ds_add(ds, -31) }}", "2025-12-31"),
        ("{{ macros.ds_format(ds, '%Y-%m-%d', '%d.%m.%y') }}", "31.01.26"),
        ("{{ run_id }} of {{ dag_run.dag_id }}", "scheduled__2026-01-31T00:00:00Z of hourly"),
        ("{{ ti.task_id }} {{ task_instance.try_number }}", "score 2"),
        ("{{ task_instance_key_str }}", "hourly__score__20260131"),
        ("--shard={{ shard.key }} --model={{ params.model }}", "--shard=s-3 --model=champion"),
        ("{{ now() }}", "2026-02-01T12:34:56.5+00:00"),
        ("{% for s in tasks.extract.output.shards %}{{ s }};{% endfor %}", "x;y;"),
        ("<{{ params.model }}>", "<champion>"),
    ];
    for (text, expected) in golden {
        assert_eq!(rendered(text), json!(expected), "{text}");
    }
}

#[test]
fn one_whole_expression_keeps_its_type() {
    assert_eq!(rendered("{{ params.limit }}"), json!(5));
    assert_eq!(rendered(" {{ tasks.extract.output.shards }} "), json!(["x", "y"]));
    assert_eq!(rendered("{{ params.rates }}"), json!({"a": 0.5}));
    assert_eq!(rendered("{{ map_index + 1 }}"), json!(4));
    assert_eq!(rendered("{{ params.limit }}{{ params.limit }}"), json!("55"), "two are a text");
    assert_eq!(rendered("{{ logical_date.weekday() }}"), json!(5));
    assert_eq!(rendered("no template"), json!("no template"));
    assert_eq!(rendered("{{- params.limit -}}"), json!(5), "marks of white space are no signs");
    assert_eq!(rendered("{{ -params.limit }}"), json!(-5));
}

#[test]
fn what_is_not_there_is_an_error_with_its_place() {
    let value = json!({"argv": ["ok", "{{ params.modle }}"]});
    let fault = render(&value, &context()).unwrap_err();
    assert_eq!(fault.pointer, "/argv/1");
    assert!(fault.message.contains("params.modle"), "{fault}");
    for text in [
        "{{ [params.limit, params.nothing] }}",
        "{{ {'a': shard.nothing} }}",
        "a {{ nothing }}",
        "{{ nothing.at.all }}",
        "{{ ds | nothing }}",
        "{{ ds",
        "{{ logical_date.add(months=1) }}",
    ] {
        assert!(render(&json!(text), &context()).is_err(), "{text}");
    }
}

#[test]
fn an_attempt_is_rendered_alike_however_often() {
    let text = "{{ macros.uuid() }} {{ macros.uuid() }} {{ macros.random() }} {{ now() }}";
    let first = rendered(text);
    assert_eq!(first, rendered(text));
    let words: Vec<&str> = first.as_str().unwrap().split(' ').collect();
    assert_ne!(words[0], words[1]);
    assert!((0.0..1.0).contains(&words[2].parse::<f64>().unwrap()));
    let beside = render(&json!({"a": "{{ macros.uuid() }}", "b": "{{ macros.uuid() }}"}), &context()).unwrap();
    assert_ne!(beside["a"], beside["b"]);
    assert_eq!(render(&json!({"b": "{{ macros.uuid() }}"}), &context()).unwrap()["b"], beside["b"]);
    let mut other = context();
    other.attempt.token = 43;
    assert_ne!(render(&json!(text), &other).unwrap(), first);
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let text = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
    let fault = render(&json!(text), &context()).unwrap_err();
    assert!(fault.message.contains("fuel"), "{fault}");
}

#[test]
fn names_that_will_not_be_there_are_found_before() {
    let names = Names {
        params: ["model".to_owned()].into(),
        tasks: ["extract".to_owned()].into(),
        item: Some("shard".to_owned()),
        with: ["jar".to_owned()].into(),
        events: false,
        logical_date: true,
    };
    let fine = json!([
        "{{ params.model }} {{ shard.key }} {{ ds }} {{ tasks.extract.output.rows }}",
        "{% for s in tasks.extract.output.shards %}{{ s }}{% endfor %}",
        "{% set x = 1 %}{{ x }}",
        {"a": "{{ macros.uuid() }} {{ now() }} {{ ti.try_number }}"},
    ]);
    assert_eq!(names.check(&fine), []);
    let wrong = [
        ("{{ params.modle }}", "`params.modle` is not a parameter of this DAG; it has model"),
        (
            "{{ tasks.load.output }}",
            "`tasks.load` is not a task that comes before this one; those before it are extract",
        ),
        ("{{ with.jra }}", "`with.jra` is not a parameter of this task's template; it has jar"),
        ("{{ shrad }}", "`shrad` is not there"),
        ("{{ ti.xcom_pull('extract') }}", "`ti.xcom_pull` is not there: use `tasks.<name>.output`"),
        ("{{ macros.timedelta(days=1) }}", "`macros.timedelta` is not there: use `.add(days=1)` of a moment"),
        ("{{ tasks.extract.result }}", "`tasks.extract.result` is not there: a task has `output`"),
        ("{{ var.value.x }}", "`var` is not there: use `params`, which a binding sets"),
        ("{{ events[0].id }}", "`events` is not there: this DAG has no triggers"),
        ("{{ ds", "syntax error"),
    ];
    for (text, expected) in wrong {
        let faults = names.check(&json!([text]));
        assert_eq!(faults.len(), 1, "{text} {faults:?}");
        assert_eq!(faults[0].pointer, "/0");
        assert!(faults[0].message.starts_with(expected), "{text}: {}", faults[0].message);
    }
    let dateless = Names { logical_date: false, ..names };
    assert!(dateless.check(&json!("{{ ds }}"))[0].message.contains("no logical date"));
}
