use serde_json::json;

use super::*;

const DAG: &str = "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: hourly}\nspec:\n  params: {model: {type: string, default: champion}}\n  tasks:\n    score: {use: scoring, retry: {max: 2}}\n";
const TEMPLATE: &str =
    "apiVersion: millrace.dev/v1\nkind: TaskTemplate\nmetadata: {name: scoring}\nspec:\n  task: {sleep: {for: 1s}}\n";
const BINDING: &str = "apiVersion: millrace.dev/v1\nkind: Binding\nmetadata: {name: acme}\nspec: {dag: hourly, params: {model: challenger}}\n";

fn apply(texts: &[&str], known: &Known) -> Result<Decision, String> {
    let named: Vec<(String, &str)> = texts.iter().enumerate().map(|(n, text)| (format!("{n}.yaml"), *text)).collect();
    parse(named.iter().map(|(name, text)| (name.as_str(), *text)))
        .and_then(|given| decide(&given, known, Abilities::default(), Timestamp::UNIX_EPOCH))
        .map_err(|faults| faults.to_string())
}

/// What is in force after a decision.
fn after(mut known: Known, decision: &Decision) -> Known {
    for (kind, name, body) in &decision.writes.documents {
        let documents = match *kind {
            "Dag" => &mut known.dags,
            "Binding" => &mut known.bindings,
            _ => &mut known.templates,
        };
        documents.insert(name.clone(), body.clone());
    }
    known
}

fn actions(decision: &Decision) -> Vec<(&str, Action)> {
    decision.changes.iter().map(|change| (change.name.as_str(), change.action)).collect()
}

#[test]
fn documents_that_need_each_other_come_together_and_the_second_time_nothing_changes() {
    let first = apply(&[BINDING, DAG, TEMPLATE], &Known::default()).unwrap();
    let expected = [("scoring", Action::Create), ("hourly", Action::Create), ("acme", Action::Create)];
    assert_eq!(actions(&first), expected);
    let [planned] = first.writes.plans.as_slice() else { panic!("{:?}", first.writes) };
    assert!(planned.plan.tasks[0].task.sleep.is_some(), "with its template in it");
    assert_eq!(planned.bindings[0].binding.spec.params["model"], json!("challenger"));
    let known = after(Known::default(), &first);
    let second = apply(&[BINDING, DAG, TEMPLATE], &known).unwrap();
    assert!(second.changes.iter().all(|change| change.action == Action::Unchanged), "{:?}", second.changes);
    assert!(second.writes.plans[0].same_schedule);
}

#[test]
fn a_template_that_changes_makes_a_new_plan_of_what_uses_it() {
    let known = after(Known::default(), &apply(&[BINDING, DAG, TEMPLATE], &Known::default()).unwrap());
    let changed = apply(&[&TEMPLATE.replace("1s", "2s")], &known).unwrap();
    assert_eq!(changed.changes[0].details, [r#"spec.task.sleep.for: "1s" -> "2s""#]);
    let [planned] = changed.writes.plans.as_slice() else { panic!("{:?}", changed.writes) };
    assert_eq!((planned.plan.dag.metadata.name.as_str(), planned.bindings.len()), ("hourly", 1));
    let broken = apply(&[&TEMPLATE.replace("sleep: {for: 1s}", "forEach: {in: 7}, noop: {}")], &known).unwrap_err();
    assert!(broken.contains("Dag hourly, in force"), "{broken}");
}

#[test]
fn everything_that_is_wrong_is_said_with_its_place() {
    let unknown = apply(&[DAG], &Known::default()).unwrap_err();
    assert!(unknown.contains("0.yaml:7:") && unknown.contains("no template `scoring`"), "{unknown}");
    let nowhere = apply(&[BINDING], &Known::default()).unwrap_err();
    assert!(nowhere.contains("$.spec.dag") && nowhere.contains("no DAG \"hourly\""), "{nowhere}");
    let wrong = apply(&[&BINDING.replace("challenger", "[1]"), DAG, TEMPLATE], &Known::default()).unwrap_err();
    assert!(wrong.contains("$.spec.params.model"), "{wrong}");
    let pool = apply(&[&DAG.replace("retry: {max: 2}", "pool: {name: gpu}"), TEMPLATE], &Known::default()).unwrap_err();
    assert!(pool.contains("millrace dag pool gpu"), "{pool}");
    let twice = apply(&[DAG, DAG, TEMPLATE], &Known::default()).unwrap_err();
    assert!(twice.contains("another Dag of this name in 0.yaml"), "{twice}");
}

#[test]
fn an_unchanged_document_changes_nothing_of_its_schedule() {
    let dag = DAG.replace("  tasks:", "  schedule: {cron: '5 * * * *'}\n  tasks:");
    let first = apply(&[&dag, TEMPLATE], &Known::default()).unwrap();
    assert!(!first.writes.plans[0].same_schedule, "it is new");
    let known = after(Known::default(), &first);
    assert!(apply(&[&dag], &known).unwrap().writes.plans[0].same_schedule);
    assert!(
        apply(&[&TEMPLATE.replace("1s", "2s")], &known).unwrap().writes.plans[0].same_schedule,
        "a template's change"
    );
    let moved = apply(&[&dag.replace("5 *", "6 *")], &known).unwrap();
    assert!(!moved.writes.plans[0].same_schedule);
}

#[test]
fn pools_are_those_of_the_bindings() {
    let dag = DAG.replace("retry: {max: 2}", "pool: {name: gpu, slots: 2}");
    let mut known = Known { pools: [("gpu-acme".to_owned(), 2), ("small".to_owned(), 1)].into(), ..Known::default() };
    let bound = |pool: &str| BINDING.replace("params: {model: challenger}", &format!("pools: {{gpu: {pool}}}"));
    apply(&[&dag, TEMPLATE, &bound("gpu-acme")], &known).unwrap();
    let small = apply(&[&dag, TEMPLATE, &bound("small")], &known).unwrap_err();
    assert!(small.contains("has 1 slots: a task that needs 2 never runs"), "{small}");
    let missing = apply(&[&dag, TEMPLATE, &bound("none")], &known).unwrap_err();
    assert!(missing.contains("no pool \"none\""), "{missing}");
    known.pools.insert("dag:other".to_owned(), 9);
    let other = apply(&[&dag.replace("name: gpu", "name: 'dag:other'"), TEMPLATE], &known).unwrap_err();
    assert!(other.contains("is no name of a pool"), "{other}");
    let mistyped = bound("gpu-acme").replace("{gpu:", "{gqu:");
    let unused = apply(&[&dag, TEMPLATE, &mistyped], &known).unwrap_err();
    assert!(unused.contains("$.spec.pools.gqu") && unused.contains("no task of DAG"), "{unused}");
}

#[test]
fn what_would_end_the_process_is_refused() {
    let texts = [
        "- ".repeat(100_000) + "x",
        "? ".repeat(100_000),
        format!("{}x", " ".repeat(5_000)),
        "a: \"x\\0y\"".to_owned(),
    ];
    for text in texts {
        apply(&[&text], &Known::default()).unwrap_err();
    }
}

#[test]
fn what_this_scheduler_cannot_do_is_refused() {
    let dag = DAG.replace(
        "{use: scoring, retry: {max: 2}}",
        "{job: {image: score}}\n    w: {wait: {topic: {name: mail.events}}}\n    o: {wait: {object: {uri: 's3://inbox/x'}}}",
    );
    let refused =
        apply(&[&dag.replace("  tasks:", "  deadlines: [{within: 1h, after: queued}]\n  tasks:")], &Known::default())
            .unwrap_err();
    assert!(!refused.contains("$.spec.tasks.o"), "{refused}");
    for what in
        ["$.spec.tasks.score.job: ", "$.spec.tasks.w.wait.topic: this scheduler knows no Kafka", "$.spec.deadlines: "]
    {
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn a_schedule_needs_every_parameter() {
    let scheduled = DAG.replace(
        "params: {model: {type: string, default: champion}}",
        "params: {model: {type: string}}\n  schedule: {cron: '@daily'}",
    );
    let alone = apply(&[&scheduled, TEMPLATE], &Known::default()).unwrap_err();
    assert!(alone.contains("no binding gives it"), "{alone}");
    apply(&[&scheduled, TEMPLATE, BINDING], &Known::default()).unwrap();
}
