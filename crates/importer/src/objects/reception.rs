//! Takes messages out of the queue, as many as there is room for.

use std::{pin::pin, sync::Arc, time::Duration};

use millrace_aws::Message;
use millrace_runtime::Shutdown;
use tokio::task::JoinSet;

use super::message::Desk;
use crate::error::{Error, Result};

/// How long a call waits for the first message. At shutdown its answer is still waited for: messages in an answer that
/// nobody hears would be hidden for as long as the queue says.
const POLL: Duration = Duration::from_secs(5);
/// How long what is under way may take once the end has begun; then it is rolled back and given back.
const LAST: Duration = Duration::from_secs(15);

/// Works until shutdown, then ends what has begun. `most` messages at once.
pub(crate) async fn run(desk: Arc<Desk>, most: usize, shutdown: Shutdown) -> Result<()> {
    let mut working = JoinSet::new();
    while !shutdown.is_triggered() {
        if working.len() >= most {
            tokio::select! {
                Some(done) = working.join_next() => ended(done)?,
                () = shutdown.wait() => {}
            }
            continue;
        }
        for message in receive(&desk, most, &mut working).await? {
            desk.metrics.received();
            if shutdown.is_triggered() {
                desk.give_back(&message, Duration::ZERO).await;
                continue;
            }
            let (desk, shutdown) = (Arc::clone(&desk), shutdown.clone());
            working.spawn(async move { Box::pin(handle(&desk, message, &shutdown)).await });
        }
    }
    while let Some(done) = working.join_next().await {
        ended(done)?;
    }
    Ok(())
}

/// The next messages; none for a while, or at shutdown.
async fn receive(desk: &Desk, most: usize, working: &mut JoinSet<Result<()>>) -> Result<Vec<Message>> {
    let mut patience = desk.waiting.patience("receive messages");
    loop {
        let mut receiving = pin!(desk.queue.receive(most - working.len(), POLL));
        let received = loop {
            tokio::select! {
                received = &mut receiving => break received,
                Some(done) = working.join_next() => ended(done)?,
            }
        };
        match received {
            Ok(messages) => {
                patience.done();
                return Ok(messages);
            }
            Err(error) => {
                if !patience.after(error.into()).await? {
                    return Ok(Vec::new());
                }
            }
        }
    }
}

/// A message that is not done when time is up is rolled back and given back.
async fn handle(desk: &Desk, message: Message, shutdown: &Shutdown) -> Result<()> {
    let given_back = message.clone();
    let late = async {
        shutdown.wait().await;
        tokio::time::sleep(LAST).await;
    };
    tokio::select! {
        done = desk.handle(message, shutdown) => done,
        () = late => {
            tracing::warn!(id = given_back.id, "an object takes too long to wait for it, it begins again elsewhere");
            desk.give_back(&given_back, Duration::ZERO).await;
            Ok(())
        }
    }
}

fn ended(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<(), Error> {
    match done {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Cancelled: the runtime ends.
        Err(_) => Ok(()),
    }
}
