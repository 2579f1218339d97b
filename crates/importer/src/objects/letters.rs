//! The records of an object that could not be stored: lines of JSON in an object of their own.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use millrace_aws::{Objects, Result, Upload};
use millrace_schema::{Schema, json, scored};
use serde::Serialize;
use serde_json::Value;

use crate::error::Reject;

/// Bytes of a record that is shown as JSON as well: that takes many times its room.
const MAX_SHOWN: usize = 64 << 10;

/// One record that could not be stored.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Letter {
    /// Its number in the object, from zero.
    record: u64,
    /// As far as it can be read.
    event_id: Option<String>,
    code: &'static str,
    reason: String,
    /// What it holds, as far as that can be shown.
    value: Option<Value>,
    /// Its bytes in the object's schema, in base64.
    datum: String,
}

impl Letter {
    pub(crate) fn new(record: u64, reject: Reject, schema: &Schema, datum: &[u8]) -> Self {
        Self {
            record,
            event_id: scored::decode_head(datum).ok().map(|(head, _)| head.event_id.to_owned()),
            code: reject.code.as_str(),
            reason: reject.reason,
            value: (datum.len() <= MAX_SHOWN).then(|| json::to_json(schema, datum).ok()).flatten(),
            datum: BASE64_STANDARD.encode(datum),
        }
    }
}

/// The object that letters are written to; there is none where there are no letters.
pub(crate) struct Letters {
    objects: Objects,
    bucket: String,
    key: String,
    upload: Option<Upload>,
    count: u64,
}

impl Letters {
    pub(crate) fn new(objects: &Objects, bucket: &str, key: String) -> Self {
        Self { objects: objects.clone(), bucket: bucket.to_owned(), key, upload: None, count: 0 }
    }

    /// Adds letters.
    pub(crate) async fn add(&mut self, letters: &[Letter]) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let upload = self.upload.get_or_insert_with(|| self.objects.upload(&self.bucket, &self.key));
        for letter in letters {
            let mut line = serde_json::to_vec(letter).unwrap_or_default();
            line.push(b'\n');
            upload.write(&line).await?;
        }
        self.count += letters.len() as u64;
        Ok(())
    }

    /// Has them all written: how many there were.
    pub(crate) async fn finish(self) -> Result<u64> {
        if let Some(upload) = self.upload {
            upload.finish().await?;
            tracing::warn!(
                records = self.count,
                letters = format!("s3://{}/{}", self.bucket, self.key),
                "records cannot be stored"
            );
        }
        Ok(self.count)
    }
}
