//! A bundle's way from the registry to the disk.

use std::{collections::BTreeSet, io, time::Duration};

use millrace_proto::registry::v1::{
    self as pb, model_service_client::ModelServiceClient, pull_model_response::Part as Answer,
};
use millrace_scoring::Manifest;
use tokio::{fs::File, io::AsyncWriteExt as _, time::timeout};
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{
    cache::{Beside, Cache},
    decide::Ref,
};

/// How long the registry may say nothing in the middle of a bundle.
const SILENCE: Duration = Duration::from_secs(30);
const MANIFEST: &str = "manifest.json";

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The registry or our disk: nothing is known about the bundle, and to ask again is right.
    #[error("{0}")]
    Away(String),
    /// What came must not be used.
    #[error("{0}")]
    Refused(String),
}

/// Gets a bundle. Its files are as long as the manifest says; whether they are what it says is seen when it is opened.
pub(crate) async fn pull(client: &mut ModelServiceClient<Channel>, model: &Ref, cache: &Cache) -> Result<(), Failure> {
    let Ref { name, version } = model.clone();
    let request = pb::PullModelRequest { model: Some(pb::ModelRef { name, version }) };
    let mut parts = client.pull_model(request).await.map_err(|status| sort(&status))?.into_inner();
    let Some(Answer::Manifest(text)) = next(&mut parts).await? else {
        return Err(Failure::Refused("the registry gives no manifest".to_owned()));
    };
    let manifest = read_manifest(&text, model)?;
    let beside = cache.begin(model).map_err(disk)?;
    let mut writer = Writer { manifest: &manifest, beside: &beside, begun: BTreeSet::new(), current: None };
    while let Some(part) = next(&mut parts).await? {
        let Answer::Piece(pb::Piece { file, bytes }) = part else {
            return Err(Failure::Refused("a second manifest".to_owned()));
        };
        writer.take(&file, &bytes).await?;
    }
    writer.finish().await?;
    tokio::fs::write(beside.path().join(MANIFEST), text).await.map_err(disk)?;
    beside.finish().map_err(disk)?;
    Ok(())
}

/// A manifest of the model that was asked for, whose files are files of its folder.
fn read_manifest(text: &str, model: &Ref) -> Result<Manifest, Failure> {
    let refused = |problem: String| Failure::Refused(format!("manifest: {problem}"));
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    if (&manifest.name, &manifest.version) != (&model.name, &model.version) {
        return Err(refused(format!("it is of {} {}", manifest.name, manifest.version)));
    }
    let is_place =
        |file: &str| file.contains(['/', '\\']) || file.starts_with('.') || file.is_empty() || file == MANIFEST;
    match manifest.files.values().find(|entry| is_place(&entry.file)) {
        Some(entry) => Err(refused(format!("{:?} is not a file of its folder", entry.file))),
        None => Ok(manifest),
    }
}

async fn next(parts: &mut Streaming<pb::PullModelResponse>) -> Result<Option<Answer>, Failure> {
    match timeout(SILENCE, parts.message()).await {
        Ok(Ok(answer)) => Ok(answer.and_then(|answer| answer.part)),
        Ok(Err(status)) => Err(sort(&status)),
        Err(_) => Err(Failure::Away(format!("the registry has said nothing for {SILENCE:?}"))),
    }
}

/// What a status says about the bundle, if anything.
fn sort(status: &Status) -> Failure {
    let said = match std::error::Error::source(status) {
        Some(source) => format!("{}: {source} ({:?})", status.message(), status.code()),
        None => format!("{} ({:?})", status.message(), status.code()),
    };
    match status.code() {
        Code::NotFound | Code::DataLoss | Code::InvalidArgument | Code::FailedPrecondition => Failure::Refused(said),
        _ => Failure::Away(said),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` has it")]
fn disk(error: io::Error) -> Failure {
    Failure::Away(format!("write the bundle: {error}"))
}

struct Writer<'a> {
    manifest: &'a Manifest,
    beside: &'a Beside,
    begun: BTreeSet<String>,
    /// Key, file, bytes that are still to come.
    current: Option<(String, File, u64)>,
}

impl Writer<'_> {
    async fn take(&mut self, key: &str, bytes: &[u8]) -> Result<(), Failure> {
        if self.current.as_ref().is_none_or(|(current, ..)| current != key) {
            self.close().await?;
            self.current = Some(self.begin(key).await?);
        }
        let Some((_, file, left)) = &mut self.current else { return Ok(()) };
        *left =
            left.checked_sub(bytes.len() as u64).ok_or_else(|| Failure::Refused(format!("file {key} is too long")))?;
        file.write_all(bytes).await.map_err(disk)
    }

    async fn begin(&mut self, key: &str) -> Result<(String, File, u64), Failure> {
        let entry = self.manifest.files.get(key).filter(|_| self.begun.insert(key.to_owned()));
        let entry = entry.ok_or_else(|| Failure::Refused(format!("file {key} is not listed, or comes twice")))?;
        let file = File::create(self.beside.path().join(&entry.file)).await.map_err(disk)?;
        Ok((key.to_owned(), file, entry.bytes))
    }

    async fn close(&mut self) -> Result<(), Failure> {
        let Some((key, mut file, left)) = self.current.take() else { return Ok(()) };
        if left > 0 {
            return Err(Failure::Refused(format!("file {key} is {left} bytes too short")));
        }
        file.flush().await.map_err(disk)
    }

    async fn finish(mut self) -> Result<(), Failure> {
        self.close().await?;
        // One without bytes has no piece.
        for (key, entry) in self.manifest.files.iter().filter(|(key, _)| !self.begun.contains(*key)) {
            if entry.bytes > 0 {
                return Err(Failure::Refused(format!("the bundle ends without its file {key}")));
            }
            File::create(self.beside.path().join(&entry.file)).await.map_err(disk)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(change: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, Failure> {
        let mut manifest = serde_json::to_value(Manifest::default()).unwrap();
        manifest["name"] = json!("mail");
        manifest["version"] = json!("a");
        manifest["files"] = json!({"model": {"file": "model.json", "sha256": "", "bytes": 3}});
        change(&mut manifest);
        read_manifest(&manifest.to_string(), &Ref { name: "mail".to_owned(), version: "a".to_owned() })
    }

    #[test]
    fn a_manifest_is_of_the_model_that_was_asked_for_and_names_no_other_folder() {
        assert!(manifest(|_| {}).is_ok());
        for change in [
            (|it| it["version"] = json!("b")) as fn(&mut serde_json::Value),
            |it| it["name"] = json!("x"),
            |it| it["files"]["model"]["file"] = json!("../model.json"),
            |it| it["files"]["model"]["file"] = json!(".bashrc"),
            |it| it["files"]["model"]["file"] = json!("manifest.json"),
            |it| it["files"] = json!(3),
        ] {
            assert!(matches!(manifest(change), Err(Failure::Refused(_))));
        }
    }

    #[test]
    fn an_outage_says_nothing_about_the_bundle() {
        assert!(matches!(sort(&Status::unavailable("x")), Failure::Away(_)));
        assert!(matches!(sort(&Status::permission_denied("x")), Failure::Away(_)));
        assert!(matches!(sort(&Status::data_loss("x")), Failure::Refused(_)));
        assert!(matches!(sort(&Status::not_found("x")), Failure::Refused(_)));
    }

    #[tokio::test]
    async fn files_are_whole_and_each_comes_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::create(dir.path()).unwrap();
        let manifest = manifest(|_| {}).unwrap();
        let model = Ref { name: "mail".to_owned(), version: "a".to_owned() };
        let write = async |pieces: &[(&str, &[u8])]| {
            let beside = cache.begin(&model).unwrap();
            let mut writer = Writer { manifest: &manifest, beside: &beside, begun: BTreeSet::new(), current: None };
            for (key, bytes) in pieces {
                writer.take(key, bytes).await?;
            }
            writer.finish().await?;
            Ok::<_, Failure>(std::fs::read(beside.path().join("model.json")).unwrap())
        };
        assert_eq!(write(&[("model", b"a"), ("model", b"bc")]).await.unwrap(), b"abc");
        for wrong in [&[("model", &b"ab"[..])][..], &[("model", b"abcd")], &[("other", b"abc")], &[]] {
            assert!(matches!(write(wrong).await, Err(Failure::Refused(_))), "{wrong:?}");
        }
    }
}
