//! The Job of an attempt.

use std::{collections::BTreeMap, time::Duration};

use millrace_kubernetes::{
    Job, Key, Shards,
    job::{MAX_ITEMS_BYTES, MAX_SHARDS, MESSAGE, label, name},
};

use super::{Items, Wanted};
use crate::{document, exec::Attempt};

/// How many shards run at once where the document does not say.
const PARALLEL: u32 = 100;
/// How much later than a scheduler Kubernetes ends what takes too long: it is for when there is none.
const LATER: Duration = Duration::from_mins(1);
/// What the variables are called that tell of the attempt. A document cannot set them.
pub(crate) const OURS: &str = "MILLRACE_";

/// The same, whoever asks for it: a Job is found again by its name.
pub(super) fn job(attempt: &Attempt, wanted: &Wanted, namespace: &str, keep: Duration) -> Result<Job, String> {
    let Wanted { spec, limit, shards } = wanted;
    let document::Job {
        image,
        command,
        args,
        env,
        secrets,
        namespace: own,
        service_account,
        user,
        resources,
        indexed: _,
        spot,
    } = spec.clone();
    let secret = |(variable, secret): (String, String)| match secret_key(&secret) {
        Some((name, key)) => Ok((variable, (name.to_owned(), key.to_owned()))),
        None => Err(format!("secrets.{variable}: {secret:?} is not a Kubernetes secret and its key: `name/key`")),
    };
    Ok(Job {
        key: Key { namespace: own.unwrap_or_else(|| namespace.to_owned()), name: name(&attempt.name) },
        labels: labels(attempt),
        annotations: annotations(attempt),
        image,
        command,
        args,
        env: env.into_iter().chain(variables(attempt)).collect(),
        secrets: secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
        resources,
        service_account,
        user,
        deadline: limit.map(|limit| limit + LATER),
        keep,
        spot,
        shards: shards.as_ref().map(self::shards).transpose()?,
    })
}

/// `name/key` of a Kubernetes secret.
pub(crate) fn secret_key(secret: &str) -> Option<(&str, &str)> {
    let (name, key) = secret.split_once('/')?;
    let is_name = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, '-' | '.');
    let is_key = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let fits =
        |text: &str, fits: &dyn Fn(char) -> bool| !text.is_empty() && text.len() <= 253 && text.chars().all(fits);
    (fits(name, &is_name) && fits(key, &is_key)).then_some((name, key))
}

fn shards(items: &Items) -> Result<Shards, String> {
    let Items { values, parallel, retries } = items;
    if values.len() > MAX_SHARDS {
        return Err(format!("forEach.in: {} items; an indexed Job has at most {MAX_SHARDS}", values.len()));
    }
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    let size: usize = texts.iter().enumerate().map(|(number, text)| number.to_string().len() + text.len()).sum();
    if size > MAX_ITEMS_BYTES {
        return Err(format!(
            "forEach.in: items of {size} bytes; Kubernetes keeps at most {MAX_ITEMS_BYTES} (1 MiB) for an indexed Job: put them into \
             object storage and map over their addresses, or leave `indexed` out"
        ));
    }
    Ok(Shards { items: texts, parallel: parallel.unwrap_or(PARALLEL), retries: *retries })
}

/// To select by.
fn labels(attempt: &Attempt) -> BTreeMap<String, String> {
    let item = attempt.item.map(|item| ("item", item.to_string()));
    let always = [
        ("dag", label(&attempt.dag)),
        ("run", attempt.run.to_string()),
        ("task", label(&attempt.task)),
        ("attempt", attempt.number.to_string()),
    ];
    always.into_iter().chain(item).map(|(name, value)| (format!("millrace.dev/{name}"), value)).collect()
}

/// In full, and when it was launched: another installation has attempts of the same names, but not of the same moment.
fn annotations(attempt: &Attempt) -> BTreeMap<String, String> {
    let said = [
        ("attempt-name", attempt.name.clone()),
        ("dag-name", attempt.dag.clone()),
        ("task-name", attempt.task.clone()),
        ("launched-at", attempt.launched_at.to_string()),
    ];
    said.map(|(name, value)| (format!("millrace.dev/{name}"), value)).into()
}

/// The same as those of a process.
fn variables(attempt: &Attempt) -> BTreeMap<String, String> {
    let Attempt { name, token, dag, run, task, item, number: _, launched_at: _, place: _ } = attempt;
    let item = item.map(|item| ("ITEM", item.to_string()));
    let always = [
        ("ATTEMPT", name.clone()),
        ("DAG", dag.clone()),
        ("OUTPUT", MESSAGE.to_owned()),
        ("RUN", run.to_string()),
        ("TASK", task.clone()),
        ("TOKEN", token.to_string()),
    ];
    always.into_iter().chain(item).map(|(name, value)| (format!("{OURS}{name}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exec::testing::attempt;

    fn wanted(job: serde_json::Value) -> Wanted {
        Wanted { spec: serde_json::from_value(job).unwrap(), limit: Some(Duration::from_mins(5)), shards: None }
    }

    fn made(wanted: &Wanted) -> Result<Job, String> {
        job(&attempt(), wanted, "batch", Duration::from_hours(1))
    }

    #[test]
    fn a_job_is_named_by_its_attempt_and_says_all_of_it() {
        let made = made(&wanted(json!({"image": "score", "secrets": {"PASSWORD": "db/pass.word"}, "env": {"A": "b"}})))
            .unwrap();
        assert_eq!((made.key.name.as_str(), made.key.namespace.as_str()), ("nightly-7-load-3-2", "batch"));
        assert_eq!(made.labels["millrace.dev/item"], "3");
        assert_eq!(made.annotations["millrace.dev/launched-at"], "1970-01-01T00:00:00Z");
        let env: Vec<_> = made.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = "A=b MILLRACE_ATTEMPT=nightly-7-load-3-2 MILLRACE_DAG=nightly MILLRACE_ITEM=3 MILLRACE_OUTPUT=/dev/termination-log \
                        MILLRACE_RUN=7 MILLRACE_TASK=load MILLRACE_TOKEN=41";
        assert_eq!(env.join(" "), expected);
        assert_eq!(made.secrets["PASSWORD"], ("db".to_owned(), "pass.word".to_owned()));
        assert_eq!(made.deadline, Some(Duration::from_mins(6)), "the scheduler is first");
    }

    #[test]
    fn what_kubernetes_cannot_hold_is_refused() {
        let bad = made(&wanted(json!({"image": "score", "secrets": {"PASSWORD": "db"}}))).unwrap_err();
        assert!(bad.contains("secrets.PASSWORD") && bad.contains("name/key"), "{bad}");
        let of = |values| Wanted {
            shards: Some(Items { values, parallel: None, retries: 1 }),
            ..wanted(json!({"image": "score"}))
        };
        let large = made(&of(vec![json!("x".repeat(1 << 10)); 1 << 10])).unwrap_err();
        assert!(large.contains("object storage"), "{large}");
        let fits = made(&of(vec![json!({"a": 1}); 2_000])).unwrap().shards.unwrap();
        assert_eq!((fits.items[1_999].as_str(), fits.parallel, fits.retries), ("{\"a\":1}", 100, 1));
    }
}
