//! What Kubernetes would refuse of a Job, or would never run.

use serde_json::Value;

use crate::{
    document::{Job, Task},
    exec::{OURS, secret_key},
    render,
};

/// Why a template of an indexed Job cannot ask for the item.
pub(super) const NO_ITEM: &str = "the pods of an indexed Job are all alike; each finds its item as JSON in the file \
                                  /millrace/item, and its number in MILLRACE_ITEM";

/// Kubernetes sets it.
const NUMBER: &str = "JOB_COMPLETION_INDEX";
/// How often Kubernetes may be told to try a shard again.
const MAX_RETRIES: u32 = 1_000;

/// Everything that is wrong, by the fields of the task. What is still a template is looked at when it is rendered.
pub(super) fn problems(job: &Job, task: &Task) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut say = |field: String, problem: &str| problems.push((format!("/{field}"), problem.to_owned()));
    if is_known(&job.image) && (job.image.trim().is_empty() || job.image.contains(char::is_whitespace)) {
        say("job/image".to_owned(), "is no name of an image");
    }
    for (field, name) in [("namespace", job.namespace.as_deref()), ("serviceAccount", job.service_account.as_deref())] {
        if name.is_some_and(|name| is_known(name) && !is_dns(name)) {
            say(format!("job/{field}"), "is lower-case letters, digits and dashes");
        }
    }
    let variables = job.env.keys().map(|it| ("env", it)).chain(job.secrets.keys().map(|it| ("secrets", it)));
    for (field, variable) in variables {
        if let Some(problem) = variable_problem(variable) {
            say(format!("job/{field}/{variable}"), problem);
        }
    }
    for variable in job.secrets.keys().filter(|it| job.env.contains_key(*it)) {
        say(format!("job/secrets/{variable}"), "is under `env` as well");
    }
    for (variable, secret) in job.secrets.iter().filter(|(_, secret)| secret.contains('/') && is_known(secret)) {
        if secret_key(secret).is_none() {
            say(format!("job/secrets/{variable}"), "expected a Kubernetes secret and its key: `name/key`");
        }
    }
    for (kind, amounts) in &job.resources {
        if !["requests", "limits"].contains(&kind.as_str()) {
            say(format!("job/resources/{kind}"), "expected `requests` or `limits`");
        }
        for (name, _) in amounts.iter().filter(|(_, amount)| is_known(amount) && !is_quantity(amount)) {
            say(format!("job/resources/{kind}/{name}"), "is no amount as Kubernetes has them: `2`, `500m`, `1.5Gi`");
        }
    }
    if job.indexed && task.for_each.is_none() {
        say("job/indexed".to_owned(), "is for mapped tasks: there is no `forEach`");
    }
    if let Some(retry) = task.retry.as_ref().filter(|_| job.indexed) {
        if retry.unless.is_some() {
            say("retry/unless".to_owned(), "Kubernetes tries the pods of an indexed Job again, and asks no condition");
        }
        if retry.max > MAX_RETRIES {
            say("retry/max".to_owned(), "at most 1000");
        }
    }
    problems
}

fn is_known(text: &str) -> bool {
    !render::is_templated(&Value::String(text.to_owned()))
}

fn is_dns(name: &str) -> bool {
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-' || it == '.';
    let is_end = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    name.len() <= 253 && name.chars().all(fits) && name.starts_with(is_end) && name.ends_with(is_end)
}

fn variable_problem(name: &str) -> Option<&'static str> {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.');
    match name {
        _ if name.starts_with(OURS) || name == NUMBER => Some("tells of the attempt and cannot be set"),
        _ if name.is_empty() || name.starts_with(|it: char| it.is_ascii_digit()) || !name.chars().all(fits) => {
            Some("is no name of an environment variable")
        }
        _ => None,
    }
}

/// `<number><suffix>` of <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>, not negative.
fn is_quantity(text: &str) -> bool {
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_number = number.contains(|it: char| it.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_exponent = || {
        let digits = suffix.strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|it| it.is_ascii_digit()))
    };
    let known = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    is_number && (known.contains(&suffix) || is_exponent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_kubernetes() {
        for right in ["2", "500m", "1.5Gi", ".5", "5.", "1e3", "12E+2", "100M", "0"] {
            assert!(is_quantity(right), "{right}");
        }
        for wrong in ["", ".", "1.2.3", "2 GB", "1GB", "Gi", "-1", "1ee3", "1e", "two"] {
            assert!(!is_quantity(wrong), "{wrong}");
        }
    }
}
