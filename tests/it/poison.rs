//! What cannot be processed ends in `<p>.dead` with stage, code and reason, blocks nobody, and comes through once it is mended.

use millrace_demo::{Generator, Settings};
use millrace_testkit::{Outcome, Sender, World, assert_eventually};
use serde_json::Value;

/// Sends a record past the gateway, as a foreign producer does.
async fn produce(world: &World, script: &str) {
    let python = crate::python().await;
    let kafka = world.env("KAFKA_BOOTSTRAP_SERVERS");
    let done = world.execute(python.as_ref(), ["-c", script, &kafka]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
}

fn mails(seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    let mail = |labelled: millrace_demo::Labelled| {
        let mut datum = Vec::new();
        labelled.mail.encode(&mut datum);
        (labelled.mail.uid, datum)
    };
    Generator::new(Settings::new(seed, 1_767_225_600_000)).take(count).map(mail).collect()
}

async fn letters(world: &World) -> Vec<Value> {
    let done = world.cli(["dead", "list", "mail-trust", "--output", "json"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    done.json().as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_set_aside_with_a_reason_and_comes_through_once_mended() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    let mut sender = Sender::new(&world, 1).unwrap();
    let mut outcome = Outcome::default();
    sender.send(mails(3, 50), &mut outcome).await.unwrap();

    // A truncated value, a schema that nobody registered, no framing at all; good neighbours before and after.
    produce(
        &world,
        "import sys\n\
         from confluent_kafka import Producer\n\
         producer = Producer({'bootstrap.servers': sys.argv[1]})\n\
         for name, value in [('cut', bytes([0, 0, 0, 0, 1, 40, 65])), ('alien', bytes([0, 0, 9, 9, 9, 2])), ('bare', b'hello')]:\n\
         \x20   producer.produce('mail-trust.events', value, key=name, headers={'event-id': name})\n\
         assert producer.flush(30) == 0\n",
    )
    .await;
    // A value that is right for its schema and does not fit the table: Postgres has no text with a NUL in it.
    let (id, mut unfit) = mails(4, 1).remove(0);
    let at = unfit.windows(4).position(|window| window == b"demo").unwrap();
    unfit[at] = 0;
    sender.send(vec![(id.clone(), unfit)], &mut outcome).await.unwrap();
    sender.send(mails(5, 50), &mut outcome).await.unwrap();

    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust").await => 100, within: 60);
    assert_eventually!(letters(&world).await.len() => 4, within: 60);
    let letters = letters(&world).await;
    let of = |event: &str| {
        letters.iter().find(|letter| letter["event_id"] == event).unwrap_or_else(|| panic!("{letters:?}"))
    };
    for event in ["cut", "alien", "bare"] {
        assert_eq!(of(event)["stage"], "scorer", "{letters:?}");
        assert!(!of(event)["reason"].as_str().unwrap().is_empty());
    }
    assert_eq!(of(&id)["stage"], "importer", "{letters:?}");

    // Mended and sent again, it is scored, stored and judged like any other.
    let letter = of("cut")["id"].as_str().unwrap();
    let mut framed = vec![0, 0, 0, 0, 1];
    framed.extend(&mails(6, 1)[0].1);
    let value = world.folder().join("mended");
    std::fs::write(&value, framed).unwrap();
    let done = world.cli(["dead", "redrive", "mail-trust", letter, "--value", value.to_str().unwrap()]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let mended = "SELECT count(*) FROM pipeline.mail_trust WHERE event_id = 'cut'";
    assert_eventually!(world.number(mended).await => 1, within: 60);
    let judged = "SELECT count(*) FROM pipeline.mail_trust_verdicts WHERE event_id = 'cut'";
    assert_eventually!(world.number(judged).await => 1, within: 60);

    let traced = world.cli(["trace", "cut", "--output", "json"]).await.unwrap();
    let stages = traced.json()["stages"].to_string();
    for stage in ["dead", "received", "scored", "judged", "stored"] {
        assert!(stages.contains(&format!("\"{stage}\"")), "{traced:?}");
    }
    world.end().await.unwrap();
}
