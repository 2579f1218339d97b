//! `LISTEN` on a connection of its own that comes back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::Notification;

use crate::Pool;

/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(15);
/// How often a silent connection is asked whether it is still there.
const PROBE: Duration = Duration::from_secs(20);
/// Notifications that wait to be taken; more wait in the server.
const QUEUE: usize = 1024;

/// What a listener has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection stands (again): whatever was said while it did not is lost. Read the state anew.
    Connected,
    /// Somebody called `NOTIFY`.
    Notified {
        /// On which channel.
        channel: String,
        /// With what text.
        payload: String,
    },
}

/// Notifications of some channels. Reconnects for as long as it lives.
pub struct Listener {
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Begins to listen, in a task of its own. The first event is [`Event::Connected`], once that is so.
    pub fn start(pool: &Pool, channels: &[&str]) -> Self {
        let quote = |channel: &&str| format!("LISTEN \"{}\"", channel.replace('"', "\"\""));
        let listen = channels.iter().map(quote).collect::<Vec<_>>().join("; ");
        let (sender, events) = mpsc::channel(QUEUE);
        let task = tokio::spawn(keep_listening(pool.clone(), listen, sender));
        Self { events, task }
    }

    /// The next event. Pending while the database is away.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with the listener or the runtime.
            None => std::future::pending().await,
        }
    }

    /// Passes over what was said up to now: for those who read the state anew whatever was said. What nobody takes fills the
    /// queues up to the server's, which all of its databases share.
    pub fn catch_up(&mut self) {
        while self.events.try_recv().is_ok() {}
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_listening(pool: Pool, listen: String, events: mpsc::Sender<Event>) {
    let mut pause = Duration::from_millis(100);
    while !events.is_closed() {
        match listen_once(&pool, &listen, &events).await {
            Ok(()) => pause = Duration::from_millis(100),
            Err(error) => tracing::warn!(%error, "cannot listen to postgres, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// `Ok` when a connection stood and ended, which is a reason to be quick about the next.
async fn listen_once(pool: &Pool, listen: &str, events: &mpsc::Sender<Event>) -> crate::Result<()> {
    let (sender, mut notifications) = mpsc::channel::<Notification>(QUEUE);
    let connecting = pool.connector().connect(Some(sender));
    let (client, task) = tokio::time::timeout(TRY, connecting).await.map_err(|_| crate::Error::NoConnection(TRY))??;
    let _end_with_us = AbortOnDrop(task);
    client.batch_execute(listen).await?;
    let mut event = Event::Connected;
    loop {
        if events.send(event).await.is_err() {
            return Ok(());
        }
        event = loop {
            match tokio::time::timeout(PROBE, notifications.recv()).await {
                Ok(Some(said)) => {
                    break Event::Notified { channel: said.channel().to_owned(), payload: said.payload().to_owned() };
                }
                // A peer that vanished without a word is found out by asking.
                Err(_) if answers(&client).await => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        };
    }
}

async fn answers(client: &tokio_postgres::Client) -> bool {
    tokio::time::timeout(TRY, client.simple_query("SELECT 1")).await.is_ok_and(|answer| answer.is_ok())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
