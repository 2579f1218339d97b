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
/// The highest number of a user.
const MAX_USER: i64 = i32::MAX as i64;

/// Everything that is wrong, by the fields of the task. What is still a template is looked at when it is rendered.
pub(super) fn problems(job: &Job, task: &Task) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut say = |field: String, problem: &str| problems.push((format!("/{field}"), problem.to_owned()));
    if is_known(&job.image) && (job.image.trim().is_empty() || job.image.contains(char::is_whitespace)) {
        say("job/image".to_owned(), "is no name of an image");
    }
    if job.namespace.as_deref().is_some_and(|name| is_known(name) && !is_label(name)) {
        say("job/namespace".to_owned(), "is lower-case letters, digits and dashes, 63 at most");
    }
    if job.service_account.as_deref().is_some_and(|name| is_known(name) && !is_dns(name)) {
        say("job/serviceAccount".to_owned(), "is lower-case letters, digits, dashes and dots");
    }
    if job.user.is_some_and(|user| user > MAX_USER) {
        say("job/user".to_owned(), "is a number up to 2147483647");
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
        for (name, amount) in amounts {
            let field = || format!("job/resources/{kind}/{name}");
            if !is_resource(name) {
                say(
                    field(),
                    "is no resource: cpu, memory, ephemeral-storage, hugepages-*, or one of a domain as example.com/gpu",
                );
            }
            if is_known(amount) && quantity(amount).is_none() {
                say(field(), "is no amount as Kubernetes has them: `2`, `500m`, `1.5Gi`");
            }
        }
    }
    let amounts = |kind: &str| job.resources.get(kind).into_iter().flatten();
    for (name, amount) in amounts("requests") {
        let limit = amounts("limits").find_map(|(of, limit)| if of == name { quantity(limit) } else { None });
        if quantity(amount).zip(limit).is_some_and(|(amount, limit)| amount > limit) {
            say(format!("job/resources/requests/{name}"), "is more than its limit");
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

/// As <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/> has them of namespaces.
fn is_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_dns(name)
}

/// What a container can ask for: what Kubernetes knows, or what a domain has added.
fn is_resource(name: &str) -> bool {
    let known = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    known || name.split_once('/').is_some_and(|(domain, rest)| is_dns(domain) && !rest.is_empty() && rest.len() <= 63)
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

/// `<number><suffix>` of <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>, not negative:
/// how much it is, for a comparison.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let place = |suffixes: &[&str]| suffixes.iter().position(|it| *it == suffix).map(|place| place as i32);
    let factor = if let Some(place) = place(&["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]) {
        1_000_f64.powi(place - 3)
    } else if let Some(place) = place(&["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        1_024_f64.powi(place + 1)
    } else {
        10_f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok()?)
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_kubernetes() {
        for (text, amount) in [
            ("2", 2.0),
            ("500m", 0.5),
            ("1.5Gi", 1.5 * 1024.0 * 1024.0 * 1024.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1e3),
            ("12E+2", 1_200.0),
            ("100M", 1e8),
            ("0", 0.0),
        ] {
            assert_eq!(quantity(text), Some(amount), "{text}");
        }
        for wrong in ["", ".", "1.2.3", "2 GB", "1GB", "Gi", "-1", "1ee3", "1e", "two"] {
            assert_eq!(quantity(wrong), None, "{wrong}");
        }
    }
}
