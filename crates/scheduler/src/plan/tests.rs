use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::document::{Action, Document, TaskTemplate};

const HOURLY: &str = r#"
apiVersion: millrace.dev/v1
kind: Dag
metadata: {name: hourly-scoring, labels: {team: fraud}}
spec:
  params:
    model: {type: string, default: champion}
    limit: {type: integer, minimum: 1, default: 100}
  schedule:
    cron: "5 * * * *"
    timezone: America/New_York
    dst: {gap: run-after, fold: first}
    catchup: {policy: all, window: 7d, maxParallel: 2}
    overlap: buffer-one
  deadlines:
    - {within: 45m, predict: 0.2, severity: critical}
    - {task: score, within: 30m, after: started}
  tasks:
    extract:
      grpc:
        endpoint: http://ingest:8080
        method: pipeline.v1.Ingest/Pull
        request: {from: "{{ data_interval_start }}", to: "{{ data_interval_end }}", limit: "{{ params.limit }}"}
      timeout: {execution: 10m}
      retry: {max: 4, backoff: {initial: 10s, factor: 2, max: 5m}, unless: "code == 'NOT_FOUND'"}
    score:
      needs: [extract]
      forEach: {in: "{{ tasks.extract.output.shards }}", as: shard, maxParallel: 50}
      job: {image: score, args: ["--item=/millrace/item", "--model={{ params.model }}"], indexed: true, spot: true}
      retry: {max: 4}
      pool: {name: gpu}
    publish:
      needs: [score]
      when: none_failed
      if: tasks.extract.output.rows > 0
      process: {argv: [/usr/bin/publish, "{{ ds }}"]}
"#;

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn plan_with(text: &str, templates: &Templates) -> Result<Plan, Vec<String>> {
    let source = Source::parse("dag.yaml", text).unwrap();
    Plan::parse(&source, templates, now())
        .map_err(|faults| faults.0.iter().map(|it| format!("{} {}: {}", it.line, it.path, it.message)).collect())
}

fn plan(text: &str) -> Result<Plan, Vec<String>> {
    plan_with(text, &Templates::default())
}

fn template(text: &str) -> TaskTemplate {
    match Document::load(&Source::parse("template.yaml", text).unwrap()).unwrap() {
        Document::TaskTemplate(template) => *template,
        other => panic!("{other:?}"),
    }
}

/// A DAG with these tasks.
fn tasks(tasks: &str) -> String {
    let head = "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  params: {p: {type: string, default: x}}\n";
    format!("{head}  tasks:\n{tasks}")
}

#[test]
fn a_whole_dag_is_planned() {
    let plan = plan(HOURLY).unwrap();
    let names: Vec<&str> = (0..plan.graph.len()).map(|task| plan.graph.name(task)).collect();
    assert_eq!(names, ["extract", "score", "publish"]);
    assert!(matches!(plan.tasks[1].task.actions().next(), Some(Action::Job(job)) if job.indexed));
    assert!(plan.tasks[2].condition.is_some() && plan.tasks[0].unless.is_some());
    let due = plan.timetable.as_ref().unwrap().due_after(now()).unwrap();
    assert_eq!(due.at, "2026-11-21T00:05:00Z".parse().unwrap());
}

#[test]
fn a_hash_is_of_what_is_said_and_not_of_how() {
    let hash = |text: &str| plan(text).unwrap().hash;
    let first = hash(&tasks("    a: {noop: {}}\n    b: {needs: [a], sleep: {for: 60s}}\n"));
    assert_eq!(
        first,
        hash(&tasks("    b:\n      sleep: {for: 1m}\n      needs: [a]\n    a: {noop: {}, when: all_success}\n"))
    );
    assert_ne!(first, hash(&tasks("    a: {noop: {}}\n    b: {needs: [a], sleep: {for: 61s}}\n")));
    assert_eq!(first.to_string().len(), 64);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line() {
    let text = tasks(
        "    a: {needs: [c], noop: {}}\n\
         \x20   b: {needs: [a, x], noop: {}, sleep: {for: 1s}}\n\
         \x20   c: {needs: [b], process: {argv: [\"{{ params.q }}\"]}}\n\
         \x20   d: {forEach: {in: 5}, noop: {}}\n\
         \x20   e: {when: all_done}\n\
         \x20   f: {noop: {}, if: \"tasks.zz.output == 1 && nix\"}\n\
         \x20   g: {wait: {}, retry: {unless: code ==}}\n\
         \x20   h-i: {job: {image: x, indexed: true}, with: {a: 1}}\n",
    );
    let faults = plan(&text).unwrap_err();
    let expected = [
        "7 $.spec.tasks.a.needs: tasks wait for each other: a -> b -> c -> a",
        "8 $.spec.tasks.b: says to do several things: noop, sleep",
        "8 $.spec.tasks.b.needs[1]: there is no task `x`",
        "9 $.spec.tasks.c.process.argv[0]: `params.q` is not a parameter of this DAG; it has p",
        "10 $.spec.tasks.d.forEach.in: expected a list, or a template that gives one: \"{{ tasks.extract.output }}\"",
        "11 $.spec.tasks.e: says nothing to do: noop, sleep, process, http, grpc, service, job or wait",
        "12 $.spec.tasks.f.if: `nix` is not there; a condition has params, tasks, run",
        "12 $.spec.tasks.f.if: `tasks.zz` is not there",
        "13 $.spec.tasks.g.wait: waits for one of object, message, topic and run",
        "14 $.spec.tasks.h-i: a task's name is letters, digits and _, not a digit first, at most 63 of them",
        "14 $.spec.tasks.h-i.job.indexed: is for mapped tasks: there is no `forEach`",
        "14 $.spec.tasks.h-i.with: is for the parameters of a template: there is no `use`",
    ];
    for line in expected {
        assert!(faults.iter().any(|fault| fault == line), "{line}\nis not among\n{}", faults.join("\n"));
    }
    assert!(faults.iter().any(|fault| fault.starts_with("13 $.spec.tasks.g.retry.unless: not CEL")), "{faults:?}");
    assert_eq!(faults.len(), expected.len() + 1, "{}", faults.join("\n"));
}

#[test]
fn a_job_that_kubernetes_would_not_run_is_refused_with_its_line() {
    let text = tasks(
        "    a: {job: {image: ' ', env: {MILLRACE_RUN: x, 1X: y}, secrets: {A: db/}, resources: {limits: {memory: 1GB}, max: {}}}}\n\
         \x20   b: {forEach: {in: [1], as: shard}, retry: {max: 1, unless: exit_code == 1}, job: {image: x, args: ['{{ shard }}'], indexed: true}}\n\
         \x20   c: {forEach: {in: [1], as: shard}, job: {image: x, args: ['{{ shard }}', '{{ shards }}']}}\n\
         \x20   d: {job: {image: 'registry:5000/x@sha256:00', namespace: Batch.x, user: 3000000000, resources: {requests: {cpu: 1250m, gpu: '1'}, limits: {cpu: '1', example.com/gpu: '1'}}}}\n",
    );
    let faults = plan(&text).unwrap_err();
    let expected = [
        "7 $.spec.tasks.a.job.image: is no name of an image",
        "7 $.spec.tasks.a.job.env.MILLRACE_RUN: tells of the attempt and cannot be set",
        "7 $.spec.tasks.a.job.env.1X: is no name of an environment variable",
        "7 $.spec.tasks.a.job.secrets.A: expected a Kubernetes secret and its key: `name/key`",
        "7 $.spec.tasks.a.job.resources.limits.memory: is no amount as Kubernetes has them: `2`, `500m`, `1.5Gi`",
        "7 $.spec.tasks.a.job.resources.max: expected `requests` or `limits`",
        "8 $.spec.tasks.b.retry.unless: Kubernetes tries the pods of an indexed Job again, and asks no condition",
        "8 $.spec.tasks.b.job.args[0]: `shard` is not there: the pods of an indexed Job are all alike; each finds its item as JSON in \
         the file /millrace/item, and its number in MILLRACE_ITEM",
        "9 $.spec.tasks.c.job.args[1]: `shards` is not there",
        "10 $.spec.tasks.d.job.namespace: is lower-case letters, digits and dashes, 63 at most",
        "10 $.spec.tasks.d.job.user: is a number up to 2147483647",
        "10 $.spec.tasks.d.job.resources.requests.cpu: is more than its limit",
        "10 $.spec.tasks.d.job.resources.requests.gpu: is no resource: cpu, memory, ephemeral-storage, hugepages-*, or one of a \
         domain as example.com/gpu",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn a_plan_that_was_stored_is_the_same_whatever_its_numbers() {
    let text = tasks("    a: {http: {url: x, body: {zz: 1e18, a: -0.0, n: \"\\0\", m: 1.5}}}\n");
    let plan = plan(&text).unwrap();
    let again = Plan::stored(plan.text.clone()).unwrap();
    assert_eq!((again.hash, &again.text, &again.dag), (plan.hash, &plan.text, &plan.dag));
}

#[test]
fn a_dag_has_tasks_and_not_too_many() {
    let faults = plan("apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: d}\nspec: {tasks: {}}\n").unwrap_err();
    assert!(faults[0].contains("has no tasks"), "{faults:?}");
    let many = (0..=MAX_TASKS).map(|task| format!("    t{task}: {{noop: {{}}}}\n")).collect::<Vec<_>>().concat();
    assert_eq!(plan(&tasks(&many)).unwrap_err(), ["6 $.spec.tasks: has 10001 tasks; at most 10000"]);
}

#[test]
fn schedules_deadlines_and_parameters_are_checked() {
    let text = "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n\
        \x20 params: {a: 5, b: {type: nonsense}, c: {type: integer, default: x}, d-e: {}}\n\
        \x20 schedule: {cron: 0 0 30 2 *}\n\
        \x20 deadlines: [{task: nobody, within: 5m}]\n\
        \x20 tasks: {a: {noop: {}}}\n";
    let faults = plan(text).unwrap_err();
    let starts = [
        "5 $.spec.params.a: expected a JSON Schema",
        "5 $.spec.params.b: is no JSON Schema",
        "5 $.spec.params.c.default: \"x\" is not of type \"integer\"",
        "5 $.spec.params.d-e: \"d-e\" is no name",
        "6 $.spec.schedule.cron: is never due",
        "7 $.spec.deadlines[0].task: there is no task `nobody`",
    ];
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault} | {start}");
    }
    assert_eq!(faults.len(), starts.len(), "{}", faults.join("\n"));
}

#[test]
fn an_output_is_there_only_for_those_that_come_after() {
    let wrong = tasks("    a: {noop: {}}\n    b: {process: {argv: [\"{{ tasks.a.output }}\"]}}\n");
    assert_eq!(
        plan(&wrong).unwrap_err(),
        ["8 $.spec.tasks.b.process.argv[0]: `tasks.a` is not a task that comes before this one"]
    );
    let right = "    a: {noop: {}}\n    m: {needs: [a], noop: {}}\n    b: {needs: [m], process: {argv: [\"{{ tasks.a.output }}\"]}}\n";
    assert!(plan(&tasks(right)).is_ok());
}

#[test]
fn parameters_are_resolved_in_order() {
    let plan = plan(HOURLY).unwrap();
    let given = |text: serde_json::Value| serde_json::from_value::<BTreeMap<String, serde_json::Value>>(text).unwrap();
    let (binding, run) = (given(json!({"model": "challenger", "limit": 5})), given(json!({"limit": 7})));
    assert_eq!(plan.params.resolve([&binding, &run]).unwrap(), json!({"limit": 7, "model": "challenger"}));
    let faults = plan.params.resolve([&given(json!({"limit": 0, "mdoel": "x"}))]).unwrap_err();
    let said: Vec<String> = faults.into_iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
    assert_eq!(said, ["limit: 0 is less than the minimum of 1", "mdoel: is not a parameter; there are: limit, model"]);
}

const SUBMIT: &str = r#"
apiVersion: millrace.dev/v1
kind: TaskTemplate
metadata: {name: submit}
spec:
  parameters: {jar: {type: string}, memory: {type: string, default: 1g}}
  task:
    process: {argv: [submit, "--memory={{ with.memory }}", "{{ with.jar }}"]}
    retry: {max: 2}
    timeout: {execution: 1h}
"#;

const NIGHTLY: &str = r"
apiVersion: millrace.dev/v1
kind: TaskTemplate
metadata: {name: nightly-submit}
spec:
  extends: submit
  parameters: {memory: {type: string, default: 8g}}
  task: {priority: -5, process: {grace: 2m}}
";

#[test]
fn a_template_makes_the_task_and_the_task_has_the_last_word() {
    let templates = Templates::new([template(SUBMIT), template(NIGHTLY)]);
    let text = tasks("    a: {use: nightly-submit, with: {jar: \"{{ params.p }}.jar\"}, retry: {max: 9}}\n");
    let plan = plan_with(&text, &templates).unwrap();
    let task = &plan.tasks[0].task;
    let Some(Action::Process(process)) = task.actions().next() else { panic!("{task:?}") };
    assert_eq!(process.argv[2], "{{ with.jar }}");
    assert_eq!(process.grace.to_string(), "2m");
    assert_eq!((task.retry.as_ref().unwrap().max, task.priority), (9, Some(-5)));
    assert_eq!(task.timeout.execution.unwrap().to_string(), "1h");
    assert_eq!(json!(task.with), json!({"jar": "{{ params.p }}.jar", "memory": "8g"}));
}

#[test]
fn what_is_wrong_with_a_template_or_its_use_is_said() {
    let templates = Templates::new([template(SUBMIT), template(NIGHTLY)]);
    let wrong = [
        (
            "    a: {use: sumbit}\n",
            "7 $.spec.tasks.a.use: there is no template `sumbit`; there are: nightly-submit, submit",
        ),
        ("    a: {use: submit}\n", "7 $.spec.tasks.a.with.jar: `jar` has no default and is not given"),
        ("    a: {use: submit, with: {jar: 5}}\n", "7 $.spec.tasks.a.with.jar: `jar` 5 is not of type \"string\""),
        (
            "    a: {use: submit, with: {jar: a, x: \"{{ ds }}\"}}\n",
            "7 $.spec.tasks.a.with.x: `x` is not a parameter; there are: jar, memory",
        ),
        (
            "    a: {use: submit, with: {jar: \"{{ with.memory }}\"}}\n",
            "7 $.spec.tasks.a.with.jar: `with.memory` is not a parameter of this task's template",
        ),
        (
            "    a: {use: submit, with: {jar: a, x: 1}}\n",
            "7 $.spec.tasks.a.with.x: `x` is not a parameter; there are: jar, memory",
        ),
    ];
    for (task, expected) in wrong {
        let faults = plan_with(&tasks(task), &templates).unwrap_err();
        assert_eq!(faults, [expected]);
    }
    let endless = template(&SUBMIT.replace("max: 2", "max: 2000"));
    let faults = templates.check(&endless, &Source::parse("t.yaml", SUBMIT).unwrap());
    assert!(faults[0].message.contains("$.retry.max: 2000 is greater than the maximum of 1000"), "{faults:?}");
    let circle = template(&SUBMIT.replace("spec:\n", "spec:\n  extends: nightly-submit\n"));
    let templates = Templates::new([circle.clone(), template(NIGHTLY)]);
    let faults = templates.check(&circle, &Source::parse("t.yaml", SUBMIT).unwrap());
    assert!(faults[0].message.contains("submit -> nightly-submit -> submit"), "{faults:?}");
}
