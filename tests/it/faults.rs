//! What is promised holds while processes die: SIGKILL, outages of Kafka and of Postgres, and then counting.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_demo::{Generator, Settings};
use millrace_testkit::{Outcome, Sender, World, assert_eventually};

/// Events of the story in `make test`.
const EVENTS: usize = 50_000;
/// Events per second that are sent while things break.
const RATE: usize = 700;
/// Events per request; one of them is broken.
const BATCH: usize = 100;

/// How long `make soak` wants the story to go on, in minutes.
fn soak() -> Option<u64> {
    std::env::var("MILLRACE_SOAK_MINUTES").ok().and_then(|minutes| minutes.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_every_accepted_event_is_stored_and_judged_once() {
    let _turn = crate::turn().await;
    let world = Arc::new(World::builder().start().await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send(Arc::clone(&world), Arc::clone(&stop)));

    let until = soak().map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    loop {
        break_things(&world).await;
        if until.is_none_or(|until| Instant::now() > until) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let outcome = sending.await.unwrap();
    the_books_balance(&world, &outcome).await;
    Arc::into_inner(world).unwrap().end().await.unwrap();
}

/// Every service twice, Kafka away for half a minute, Postgres restarted.
async fn break_things(world: &World) {
    for _ in 0..2 {
        for part in ["scorer", "importer", "alerter", "gateway"] {
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.crash(part).await.unwrap();
        }
    }
    world.stack().stop("kafka").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.stack().start("kafka").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.stack().restart("postgres").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Sends at least [`EVENTS`], and on until it is told to stop.
async fn send(world: Arc<World>, stop: Arc<AtomicBool>) -> Outcome {
    let mut sender = Sender::new(&world, 1).unwrap();
    let mut outcome = Outcome::default();
    let mut mails = Generator::new(Settings::new(42, 1_767_225_600_000));
    let mut tick = tokio::time::interval(Duration::from_millis((BATCH * 1000 / RATE) as u64));
    while outcome.sent.len() < EVENTS || !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let mut batch: Vec<(String, Vec<u8>)> = mails
            .by_ref()
            .take(BATCH)
            .map(|labelled| {
                let mut datum = Vec::new();
                labelled.mail.encode(&mut datum);
                (labelled.mail.uid, datum)
            })
            .collect();
        let broken = &mut batch[BATCH / 2];
        broken.1.truncate(20);
        sender.send(batch, &mut outcome).await.unwrap();
    }
    outcome
}

/// Accepted is part of stored, stored is part of sent, what was rejected is not there, each id once; verdicts are rows;
/// aggregates are the rows' own.
async fn the_books_balance(world: &World, outcome: &Outcome) {
    assert_eq!(outcome.rejected.len(), outcome.sent.len() / BATCH);
    assert_eq!(outcome.accepted.len() + outcome.rejected.len(), outcome.sent.len());
    let accepted = i64::try_from(outcome.accepted.len()).unwrap();
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust").await => accepted, within: 120);
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust_verdicts").await => accepted, within: 120);

    let stored = world.texts("SELECT event_id FROM pipeline.mail_trust").await;
    let stored: BTreeSet<String> = stored.into_iter().collect();
    assert_eq!(stored, outcome.accepted);
    let judged = world.texts("SELECT event_id FROM pipeline.mail_trust_verdicts").await;
    assert_eq!(judged.len(), stored.len());
    assert_eq!(judged.into_iter().collect::<BTreeSet<String>>(), stored);

    assert_eq!(world.number(DIFFERENT_AGGREGATES).await, 0);
    assert_eq!(
        world.cli(["dead", "list", "mail-trust", "--output", "json"]).await.unwrap().json(),
        serde_json::json!([])
    );
}

/// Groups of the aggregate that are not exactly what the rows give, in either direction.
const DIFFERENT_AGGREGATES: &str = "
    WITH rows AS (
        SELECT org, date_trunc('hour', event_received_at, 'UTC') AS hour, count(*)::bigint AS count,
               sum(round(score::numeric, 9)) AS sum_score
        FROM pipeline.mail_trust GROUP BY 1, 2
    ), kept AS (
        SELECT org, hour, count, sum_score FROM pipeline.mail_trust_by_org_hour WHERE count <> 0
    )
    SELECT count(*) FROM ((TABLE rows EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE rows)) AS different";
