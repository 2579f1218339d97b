//! Avro as others know it: the published vectors, real records, and apache-avro as the judge.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

mod mail;
mod oracle;
mod theirs;
mod vectors;
