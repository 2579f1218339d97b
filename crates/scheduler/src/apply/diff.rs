use std::collections::BTreeSet;

use serde_json::Value;

/// At most so many lines are said.
const MOST: usize = 50;
/// Longer values are cut.
const LONGEST: usize = 80;

/// What is otherwise in the second of two documents, a line for each place: `spec.tasks.score.retry.max: 2 -> 4`.
pub fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", before, after, &mut lines);
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn walk(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => walk(&path, old, new, lines),
                (None, Some(new)) => lines.push(format!("{path}: new, {}", short(new))),
                (Some(old), None) => lines.push(format!("{path}: gone, was {}", short(old))),
                (None, None) => {}
            }
        }
    } else if before != after {
        lines.push(format!("{path}: {} -> {}", short(before), short(after)));
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}..")
}
