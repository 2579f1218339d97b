//! What the JSON Schema of the document cannot say.

use std::{collections::HashSet, path::PathBuf};

use super::Pipeline;
use crate::document::{self, Fault, Faults, Source};

/// Faults across fields.
pub(super) fn check(pipeline: &Pipeline, source: &Source) -> Faults {
    let mut faults = Vec::new();
    let spec = &pipeline.spec;
    if spec.topics.min_insync > spec.topics.replication {
        faults.push(source.fault("/spec/topics/min_insync", "more than `replication`: no write would ever succeed"));
    }
    policy(pipeline, source, &mut faults);
    repeated(source, "/spec/policy", spec.policy.iter().map(|rule| rule.name.as_str()), &mut faults);
    repeated(source, "/spec/alerts", spec.alerts.iter().map(|alert| alert.name.as_str()), &mut faults);
    if let Some(import) = &spec.import {
        let names = import.aggregates.iter().map(|aggregate| aggregate.name.as_str());
        repeated(source, "/spec/import/aggregates", names, &mut faults);
        for (i, aggregate) in import.aggregates.iter().enumerate() {
            let pointer = format!("/spec/import/aggregates/{i}");
            if !aggregate.count && aggregate.sum.is_empty() {
                faults.push(source.fault(&pointer, "neither counts nor sums: nothing to keep"));
            }
            if aggregate.name == "verdicts" {
                faults.push(source.fault(&format!("{pointer}/name"), "`verdicts` is the name of the verdicts' table"));
            }
        }
    }
    if let Some(batch) = &spec.batch {
        if batch.inbox.starts_with(&batch.scores) || batch.scores.starts_with(&batch.inbox) {
            faults.push(
                source.fault("/spec/batch", "one prefix begins with the other: scores would be taken for events"),
            );
        }
        if spec.scoring.is_none() {
            faults.push(
                source.fault("/spec/batch", "a batch needs `scoring`: there is no model to score its files with"),
            );
        }
    }
    faults.sort();
    Faults(faults)
}

fn policy(pipeline: &Pipeline, source: &Source, faults: &mut Vec<Fault>) {
    let rules = &pipeline.spec.policy;
    if let Some(last) = rules.last()
        && last.when.trim() != "true"
    {
        let pointer = format!("/spec/policy/{}/when", rules.len() - 1);
        faults.push(source.fault(&pointer, "the last rule must be `true`, so that every event gets a verdict"));
    }
    if !rules.is_empty() && pipeline.spec.scoring.is_none() {
        faults.push(source.fault("/spec/policy", "a policy needs `scoring`: verdicts are about scored events"));
    }
    if rules.is_empty() && !pipeline.spec.alerts.is_empty() {
        faults.push(source.fault("/spec/alerts", "alerts need a policy: they are raised by verdicts"));
    }
    if pipeline.spec.import.is_some() && pipeline.spec.scoring.is_none() {
        faults.push(source.fault("/spec/import", "an import needs `scoring`: rows are scored events"));
    }
}

fn repeated<'a>(source: &Source, pointer: &str, names: impl Iterator<Item = &'a str>, faults: &mut Vec<Fault>) {
    let mut seen = HashSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name) {
            faults.push(source.fault(&format!("{pointer}/{i}/name"), format!("`{name}` is there already")));
        }
    }
}

/// The documents under files and folders; of a folder only those that say that they are pipelines.
pub(super) fn sources(paths: &[PathBuf], faults: &mut Vec<Fault>) -> Vec<Source> {
    let mut sources = Vec::new();
    for path in paths {
        let folder = path.is_dir();
        for file in if folder { document::files_in(path) } else { vec![path.clone()] } {
            match Source::read(&file) {
                Ok(source) if !folder || source.value()["kind"] == "Pipeline" => sources.push(source),
                Ok(_) => {}
                Err(more) => faults.extend(more.0),
            }
        }
        if folder && sources.is_empty() && faults.is_empty() {
            let nothing = Fault {
                file: path.display().to_string(),
                path: "$".to_owned(),
                line: 1,
                column: 1,
                message: "no document of kind Pipeline in this folder".to_owned(),
            };
            faults.push(nothing);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: millrace.dev/v1
kind: Pipeline
metadata: {name: mail-trust}
spec:
  topics: {partitions: 4, replication: 1, min_insync: 1}
  events: {subject: mail-trust.events-value, schema: a.avsc, id: uid, time: received_at, key: [org]}
  scoring: {model: mail-trust, never: [uid]}
  policy:
    - {name: spoof, when: score >= 0.95, action: quarantine}
    - {name: default, when: 'true', action: pass}
  alerts:
    - {name: quarantined, on: quarantine, notify: [ops], group_by: [event.org]}
  import: {table: mail_trust, aggregates: [{name: by_org, by: [event.org], count: true}]}
  batch: {inbox: mail/in/, scores: mail/out/}
";

    fn faults(text: &str) -> Vec<(usize, String)> {
        let source = Source::parse("p.yaml", text).unwrap();
        let faults = Pipeline::parse(&source).map_or_else(|faults| faults.0, |_| Vec::new());
        faults.into_iter().map(|fault| (fault.line, fault.path)).collect()
    }

    #[test]
    fn a_good_document_has_defaults() {
        let pipeline = Pipeline::parse(&Source::parse("p.yaml", GOOD).unwrap()).unwrap();
        assert_eq!(pipeline.events_topic(), "mail-trust.events");
        assert_eq!(pipeline.spec.scoring.unwrap().reasons, 5);
        assert_eq!(pipeline.spec.alerts[0].group_wait, crate::Span::seconds(10));
    }

    #[test]
    fn faults_across_fields_have_their_lines() {
        assert_eq!(faults(&GOOD.replace("'true'", "score > 1")), [(10, "$.spec.policy[1].when".to_owned())]);
        assert_eq!(faults(&GOOD.replace("name: default", "name: spoof")), [(10, "$.spec.policy[1].name".to_owned())]);
        assert_eq!(
            faults(&GOOD.replace("min_insync: 1", "min_insync: 2")),
            [(5, "$.spec.topics.min_insync".to_owned())]
        );
        assert_eq!(
            faults(&GOOD.replace("count: true", "count: false")),
            [(13, "$.spec.import.aggregates[0]".to_owned())]
        );
        assert_eq!(faults(&GOOD.replace("mail/out/", "mail/in/out/")), [(14, "$.spec.batch".to_owned())]);
        assert_eq!(faults(&GOOD.replace("mail/out/", "mail/out")), [(14, "$.spec.batch.scores".to_owned())]);
    }

    #[test]
    fn a_mistyped_name_is_an_unknown_field() {
        assert_eq!(
            faults(&GOOD.replace("never:", "nevre:").replace("retention", "retain")),
            [(7, "$.spec.scoring.nevre".to_owned())]
        );
    }
}
