use std::fmt::Write;

use millrace_core::pipeline::{Alert, Rule};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// What the revision is a hash of. A new field of a rule or an alert that is left out when empty keeps old revisions.
#[derive(Serialize)]
struct Canonical<'a> {
    rules: &'a [Rule],
    alerts: &'a [Alert],
}

/// SHA-256 of the policy as compact JSON, fields in the order of their types, defaults written out: comments, layout
/// and the order of fields in a document do not matter, any other change does.
pub(crate) fn of(rules: &[Rule], alerts: &[Alert]) -> String {
    let canonical = serde_json::to_vec(&Canonical { rules, alerts }).expect("rules are plain text and numbers");
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(canonical) {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
    }
    hex
}
