use millrace_core::Fault;
use serde_json::json;

use super::Given;
use crate::document::Document;

/// Tasks that wait for a topic, as faults with what is missing: for a scheduler that knows no Kafka.
pub fn waits_for_topics(given: &[Given], missing: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for it in given {
        let fault = |pointer: &str| it.source.fault(pointer, missing);
        match &it.document {
            Document::Dag(dag) => {
                let waits = dag
                    .spec
                    .tasks
                    .iter()
                    .filter(|(_, task)| task.wait.as_ref().is_some_and(|wait| wait.topic.is_some()));
                faults.extend(waits.map(|(name, _)| fault(&format!("/spec/tasks/{name}/wait/topic"))));
            }
            Document::TaskTemplate(template) if !json!(template.spec.task)["wait"]["topic"].is_null() => {
                faults.push(fault("/spec/task/wait/topic"));
            }
            Document::TaskTemplate(_) | Document::Binding(_) => {}
        }
    }
    faults
}
