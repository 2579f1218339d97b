//! Who can be told: names from documents, addresses and secrets from the environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use base64::Engine as _;
use millrace_core::Pipeline;
use millrace_runtime::{ConfigError, Secret};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::deliver::guard;

/// What Standard Webhooks asks of a signing key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where one receiver is, and what its webhooks are signed with. Both may come from files that are rotated.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) name: String,
    url: Secret,
    secret: Secret,
    private: bool,
}

impl Receiver {
    /// The address as it is now.
    pub(crate) fn url(&self) -> Result<Url, String> {
        parse_url(&self.url.expose(), self.private)
    }

    /// The signing keys as they are now. During a rotation there are several, and the body is signed with each.
    pub(crate) fn keys(&self) -> Result<Vec<Vec<u8>>, String> {
        parse_keys(&self.secret.expose())
    }

    /// A name for the address that gives nothing of it away.
    pub(crate) fn fingerprint(&self) -> String {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(self.url.expose().as_bytes()) {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        }
        hex
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Finds every receiver that a document or a flag names. All faults come at once, each with the alert and the variable.
pub(crate) fn load(
    pipelines: &[Pipeline],
    for_signals: &[String],
    private: bool,
    env: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Receiver>, ConfigError> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for pipeline in pipelines {
        for alert in &pipeline.spec.alerts {
            for name in &alert.notify {
                let user = format!("pipeline {}, alert {}", pipeline.name(), alert.name);
                wanted.entry(name).or_default().insert(user);
            }
        }
    }
    for name in for_signals {
        wanted.entry(name).or_default().insert("--signal-receivers".to_owned());
    }
    let mut faults = Vec::new();
    let mut receivers = BTreeMap::new();
    for (name, users) in wanted {
        let users = users.into_iter().collect::<Vec<_>>().join("; ");
        match read(name, private, &env) {
            Ok(receiver) => _ = receivers.insert(name.to_owned(), receiver),
            Err(more) => faults.extend(more.into_iter().map(|fault| format!("{users}: receiver `{name}`: {fault}"))),
        }
    }
    ConfigError::check(faults).map(|()| receivers)
}

fn read(name: &str, private: bool, env: &impl Fn(&str) -> Option<String>) -> Result<Receiver, Vec<String>> {
    let is_name = |it: &str| {
        it.starts_with(|c: char| c.is_ascii_lowercase())
            && it.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !is_name(name) {
        return Err(vec!["a receiver's name has lower-case letters, digits and dashes".to_owned()]);
    }
    let variable = format!("MILLRACE_RECEIVER_{}", name.to_uppercase().replace('-', "_"));
    let (url, url_name) = (setting(&format!("{variable}_URL"), env), format!("{variable}_URL"));
    let (secret, secret_name) = (setting(&format!("{variable}_SECRET"), env), format!("{variable}_SECRET"));
    let url = url.and_then(|url| match parse_url(&url.expose(), private) {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("{url_name}: {error}")),
    });
    let secret = secret.and_then(|secret| match parse_keys(&secret.expose()) {
        Ok(_) => Ok(secret),
        Err(error) => Err(format!("{secret_name}: {error}")),
    });
    match (url, secret) {
        (Ok(url), Ok(secret)) => Ok(Receiver { name: name.to_owned(), url, secret, private }),
        (url, secret) => Err([url.err(), secret.err()].into_iter().flatten().collect()),
    }
}

/// A setting by value or by file.
fn setting(variable: &str, env: &impl Fn(&str) -> Option<String>) -> Result<Secret, String> {
    let file = env(&format!("{variable}_FILE")).map(PathBuf::from);
    let secret = Secret::from_settings(variable, env(variable).as_deref(), file.as_deref());
    match secret {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(format!("neither {variable} nor {variable}_FILE is set")),
        Err(error) => Err(error.to_string()),
    }
}

/// Errors never hold the address: it may be a secret.
fn parse_url(text: &str, private: bool) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("not a URL: {error}"))?;
    guard::check(&url, private)?;
    Ok(url)
}

fn parse_keys(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let expected = "expected whsec_ and 24 to 64 bytes in base64; several, between spaces, while keys are changed";
    let keys = text.split_whitespace().map(|key| {
        let encoded = key.strip_prefix("whsec_").unwrap_or(key);
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
        bytes.ok().filter(|bytes| KEY_BYTES.contains(&bytes.len())).ok_or_else(|| expected.to_owned())
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(expected.to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use millrace_core::Source;

    use super::*;

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn pipeline(notify: &str) -> Pipeline {
        let text = format!(
            "apiVersion: millrace.dev/v1\nkind: Pipeline\nmetadata: {{name: mail}}\nspec:\n  \
             topics: {{partitions: 1, replication: 1, min_insync: 1}}\n  \
             events: {{subject: s, schema: a.avsc}}\n  scoring: {{model: m}}\n  \
             policy: [{{name: all, when: 'true', action: quarantine}}]\n  \
             alerts: [{{name: told, on: quarantine, notify: [{notify}]}}]\n"
        );
        Pipeline::parse(&Source::parse("p.yaml", &text).unwrap()).unwrap()
    }

    fn loaded(notify: &str, env: &[(&str, &str)]) -> Result<BTreeMap<String, Receiver>, ConfigError> {
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        load(&[pipeline(notify)], &[], false, env)
    }

    #[test]
    fn a_receiver_is_its_variables() {
        let env = [
            ("MILLRACE_RECEIVER_OPS_HOOK_URL", "https://example.org/hook?token=hunter2"),
            ("MILLRACE_RECEIVER_OPS_HOOK_SECRET", KEY),
        ];
        let receivers = loaded("ops-hook", &env).unwrap();
        let receiver = &receivers["ops-hook"];
        assert_eq!(receiver.url().unwrap().as_str(), env[0].1);
        assert_eq!(receiver.keys().unwrap().len(), 1);
        assert!(!format!("{receiver:?}{}", receiver.fingerprint()).contains("hunter2"));
    }

    #[test]
    fn what_is_missing_or_malformed_names_the_alert_and_the_variable() {
        let env = [
            ("MILLRACE_RECEIVER_B_URL", "ftp://example.org/hunter2"),
            ("MILLRACE_RECEIVER_B_SECRET", "whsec_c2hvcnQ="),
            ("MILLRACE_RECEIVER_C_URL", "http://[hunter2"),
            ("MILLRACE_RECEIVER_C_SECRET_FILE", "/no/such/file"),
            ("MILLRACE_RECEIVER_D_URL", "http://10.0.0.1/"),
            ("MILLRACE_RECEIVER_D_SECRET", KEY),
        ];
        let error = loaded("a, b, c, d, E_F", &env).unwrap_err();
        let text = error.to_string();
        for part in [
            "pipeline mail, alert told: receiver `a`: neither MILLRACE_RECEIVER_A_URL nor",
            "receiver `a`: neither MILLRACE_RECEIVER_A_SECRET nor",
            "MILLRACE_RECEIVER_B_URL: scheme \"ftp\"",
            "MILLRACE_RECEIVER_B_SECRET: expected whsec_ and 24 to 64 bytes",
            "MILLRACE_RECEIVER_C_URL: not a URL",
            "read secret /no/such/file",
            "MILLRACE_RECEIVER_D_URL: 10.0.0.1 is a private address",
            "receiver `E_F`: a receiver's name",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(error.faults().len(), 8);
    }

    #[test]
    fn a_rotation_signs_with_both_keys() {
        assert_eq!(parse_keys(&format!("{KEY} {KEY}\n")).unwrap().len(), 2);
        assert!(parse_keys(" ").is_err());
    }
}
