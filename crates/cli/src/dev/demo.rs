//! The demo inside the stack: its pipeline, its model, its key.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Parser;
use millrace_demo::{Generator, Settings};
use millrace_devstack::{Part, Reporter, Stack};
use millrace_proto::gateway::v1::{CreateKeyRequest, ListKeysRequest, key_service_client::KeyServiceClient};

use crate::{
    connect::{channel, explain},
    pipeline::Target,
};

/// The world that the demo's mail comes from: the model learns the very senders that the load shows.
pub(super) const SEED: u64 = 7;

/// Ids hold the number of the mail: a run begins far behind every earlier one's.
pub(super) const NUMBERS_PER_MS: u64 = 64;

/// Mails to learn from: a week of one every half minute.
const TRAINING_MAILS: usize = 20_000;
const TRAINING_STEP_MS: i64 = 30_000;

/// Under which name the key is kept, as `<id> <secret>`.
const KEY: &str = "api-key";

/// Makes topics, subjects and tables of the document.
pub(super) async fn apply(stack: &Stack, document: &Path) -> anyhow::Result<()> {
    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        target: Target,
    }
    let env = stack.env();
    let flags = [
        ("KAFKA_BOOTSTRAP_SERVERS", "--kafka-brokers"),
        ("MILLRACE_REGISTRY_HTTP", "--registry-url"),
        ("MILLRACE_REGISTRY_GRPC", "--registry-grpc"),
        ("DATABASE_URL", "--database-url"),
    ];
    let values = flags.iter().filter_map(|(name, flag)| {
        let value = env.iter().find(|(known, _)| known == name)?;
        Some([(*flag).to_owned(), value.1.clone()])
    });
    let args = Args::try_parse_from(std::iter::once("apply".to_owned()).chain(values.flatten()))?;
    args.target.ensure(document).await.context("apply the demo's pipeline")
}

/// Trains the demo's model when there is none yet.
pub(super) async fn train(stack: &Stack, documents: &Path, reporter: &Reporter) -> anyhow::Result<()> {
    let bundle = stack.models().join(millrace_demo::NAME);
    if bundle.is_dir() {
        return Ok(());
    }
    reporter.say("training the demo's model (once)");
    let begin = Instant::now();
    let file = stack.dir().join("training.avro");
    let made = file.clone();
    tokio::task::spawn_blocking(move || write_training_file(&made)).await?.context("write the training file")?;
    let program: OsString = stack.binaries().join("millrace-scorer").into();
    let flags: [(&str, &Path); 3] = [
        ("--pipeline", &documents.join("mail-trust.yaml")),
        ("--features", &documents.join("features.yaml")),
        ("--out", &bundle),
    ];
    let mut command = vec![program, "train".into(), "--positive".into(), "spam,phish".into()];
    command.extend(["--negative".into(), "ham".into()]);
    command.extend(flags.into_iter().flat_map(|(flag, path)| [flag.into(), path.into()]));
    command.push(file.clone().into());
    let status = stack.run("train", &command).await?;
    if !status.success() {
        bail!("train the demo's model: {status}; its log is {}", stack.log("train").display());
    }
    // It can be made again at any time.
    let _ = std::fs::remove_file(&file);
    reporter.say(&format!("trained the demo's model in {:.1} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn write_training_file(path: &Path) -> std::io::Result<()> {
    let start = now_ms() - TRAINING_MAILS as i64 * TRAINING_STEP_MS;
    let settings = Settings { step: TRAINING_STEP_MS, ..Settings::new(SEED, start) };
    millrace_demo::write_training_file(path, Generator::new(settings), TRAINING_MAILS)
}

/// Puts the batch path's workflows in force: a delivery every two minutes, and its scoring.
pub(super) async fn batches(stack: &Stack, documents: &Path) -> anyhow::Result<()> {
    let program: OsString = stack.binaries().join("millrace").into();
    let dags = millrace_demo::write_dags(documents, stack.dir()).context("write the demo's workflows")?;
    let status = stack.run("dags", &[program, "dag".into(), "apply".into(), dags.into()]).await?;
    if !status.success() {
        bail!("apply the demo's workflows: {status}; the log is {}", stack.log("dags").display());
    }
    Ok(())
}

/// An API key for the demo's pipeline: that of an earlier start when the gateway still knows it, else a new one.
pub(super) async fn key(stack: &Stack) -> anyhow::Result<()> {
    let gateway = stack.ports().grpc(Part::Gateway).context("the gateway has a gRPC port")?;
    let mut keys = KeyServiceClient::new(channel(&gateway.to_string(), stack.admin_token())?);
    if let Some((id, secret)) = stack.remembered(KEY).as_deref().and_then(|text| text.split_once(' ')) {
        let listed = keys.list_keys(ListKeysRequest { include_revoked: false }).await;
        let listed = listed.map_err(|status| explain(&status)).context("list API keys")?.into_inner();
        if listed.keys.iter().any(|key| key.id == id) {
            stack.set_env("MILLRACE_API_KEY", secret);
            return Ok(());
        }
    }
    let request = CreateKeyRequest { name: "local stack".into(), pipelines: vec![millrace_demo::NAME.into()] };
    let answer = keys.create_key(request).await.map_err(|status| explain(&status)).context("make an API key")?;
    let answer = answer.into_inner();
    let id = answer.key.map(|key| key.id).unwrap_or_default();
    stack.remember(KEY, &format!("{id} {}", answer.secret))?;
    stack.set_env("MILLRACE_API_KEY", &answer.secret);
    Ok(())
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
