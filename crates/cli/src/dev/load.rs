//! The demo's load: made-up mail at a steady rate, through the gateway as any client sends it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use millrace_demo::{Generator, Settings};
use millrace_devstack::Stack;
use millrace_proto::gateway::v1::{
    Event, EventStatus, PublishRequest, SchemaRef, event::Payload, event_service_client::EventServiceClient,
    schema_ref::Ref,
};
use millrace_schema::{Schema, client};
use tokio::task::JoinHandle;

use super::demo::{NUMBERS_PER_MS, SEED, now_ms};
use crate::connect::{Authorized, channel, explain};

/// A batch is what comes together in this time.
const TICK: Duration = Duration::from_millis(100);

/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(super) struct Load {
    task: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Load {
    /// `rate` events per second; 0 is none.
    pub(super) fn start(stack: &Stack, rate: u32) -> Self {
        let trouble = Arc::new(Mutex::new(None));
        let (env, told) = (stack.env(), Arc::clone(&trouble));
        let task = (rate > 0).then(|| tokio::spawn(async move { run(&env, rate, &told).await }));
        Self { task, trouble }
    }

    /// Why the last batch did not get through.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn run(env: &[(String, String)], rate: u32, trouble: &Mutex<Option<String>>) {
    let tell = |text: Option<String>| *trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    let step = (1000 / i64::from(rate)).max(1);
    let first = now_ms() as u64 * NUMBERS_PER_MS;
    let mut mails = Generator::new(Settings { step, first, ..Settings::new(SEED, now_ms()) });
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut owed = 0.0;
    loop {
        let mut target = match Target::find(env).await {
            Ok(target) => target,
            Err(error) => {
                tell(Some(format!("{error:#}")));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        loop {
            ticks.tick().await;
            owed += f64::from(rate) * TICK.as_secs_f64();
            let batch: Vec<Event> = mails.by_ref().take(owed as usize).map(|labelled| event(&labelled.mail)).collect();
            owed -= batch.len() as f64;
            if let Err(error) = target.publish(batch).await {
                tell(Some(format!("{error:#}")));
                tokio::time::sleep(PAUSE).await;
                break;
            }
            tell(None);
        }
    }
}

fn event(mail: &millrace_demo::Mail) -> Event {
    let mut datum = Vec::with_capacity(512);
    mail.encode(&mut datum);
    Event { event_id: mail.uid.clone(), payload: Some(Payload::Avro(datum.into())), ..Event::default() }
}

/// The gateway, and what the registry calls the demo's schema.
struct Target {
    gateway: EventServiceClient<Authorized>,
    schema: u32,
}

impl Target {
    async fn find(env: &[(String, String)]) -> anyhow::Result<Self> {
        let value = |name: &str| {
            let found = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            found.with_context(|| format!("the stack has no {name}"))
        };
        let gateway = channel(value("MILLRACE_GATEWAY_GRPC")?, value("MILLRACE_API_KEY")?)?;
        let registry = client::Client::new(&client::Args::from_url(value("MILLRACE_REGISTRY_HTTP")?))?;
        let schema = Schema::parse(millrace_demo::SCHEMA).context("read the demo's schema")?;
        let subject = format!("{}.events-value", millrace_demo::NAME);
        let registered = registry.lookup(&subject, &schema).await.context("look up the demo's schema")?;
        let schema = registered.with_context(|| format!("the demo's schema is not under {subject}"))?.id;
        Ok(Self { gateway: EventServiceClient::new(gateway), schema })
    }

    /// All of the batch, or why not.
    async fn publish(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let schema = Some(SchemaRef { r#ref: Some(Ref::Id(self.schema)) });
        let request = PublishRequest { pipeline: millrace_demo::NAME.to_owned(), schema, events };
        let answer = self.gateway.publish(request).await.map_err(|status| explain(&status))?.into_inner();
        let refused = answer.results.iter().find(|result| result.status() != EventStatus::Accepted);
        refused.map_or(Ok(()), |result| Err(anyhow::anyhow!("{}: {}", result.code, result.message)))
    }
}
