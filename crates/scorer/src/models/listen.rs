//! What the registry says of a pipeline's champion: when it is asked, and by itself.

use std::time::Duration;

use millrace_proto::registry::v1::{self as pb, model_service_client::ModelServiceClient};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{Status, transport::Channel};

use super::decide::{Champion, Ref};

/// How long the registry may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The pauses between tries.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// The pause after so many failures before this one.
pub(super) fn pause(failures: usize) -> Duration {
    PAUSES[failures.min(PAUSES.len() - 1)]
}

/// Asks who the champion is now.
pub(super) async fn ask(client: &mut ModelServiceClient<Channel>, pipeline: &str) -> Result<Champion, Status> {
    let request = pb::GetAssignmentRequest { pipeline: pipeline.to_owned() };
    let late = |_| Status::deadline_exceeded(format!("no answer within {ANSWER:?}"));
    let answer = timeout(ANSWER, client.get_assignment(request)).await.map_err(late)??;
    Ok(champion(answer.into_inner().assignment))
}

/// Puts the last word where it is read, for ever.
pub(super) async fn listen(
    mut client: ModelServiceClient<Channel>,
    pipeline: String,
    heard: watch::Sender<Option<Champion>>,
) {
    let mut failures = 0;
    loop {
        let ended = stream(&mut client, &pipeline, &heard, &mut failures).await;
        tracing::debug!(pipeline, ?ended, failures, "watch of the champion broke off, resuming");
        sleep(pause(failures)).await;
        failures += 1;
    }
}

async fn stream(
    client: &mut ModelServiceClient<Channel>,
    pipeline: &str,
    heard: &watch::Sender<Option<Champion>>,
    failures: &mut usize,
) -> Result<(), Status> {
    let request = pb::WatchAssignmentRequest { pipeline: pipeline.to_owned() };
    let mut words = client.watch_assignment(request).await?.into_inner();
    while let Some(word) = words.message().await? {
        *failures = 0;
        heard.send_replace(Some(champion(word.assignment)));
    }
    Ok(())
}

fn champion(assignment: Option<pb::Assignment>) -> Champion {
    let pb::Assignment { champion, revision, .. } = assignment.unwrap_or_default();
    let model = champion.map(|pb::ModelRef { name, version }| Ref { name, version });
    Champion { model, revision }
}
