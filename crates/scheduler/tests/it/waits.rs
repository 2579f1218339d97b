//! Waits for objects, messages and topics, on what is really there: S3 and SQS are moto's, Kafka is Kafka.

mod killed;

use std::{collections::BTreeSet, time::Duration};

use millrace_kafka::{Admin, Client, Outgoing, Producer, admin::TopicSpec, producer::Config};
use millrace_proto::scheduler::v1::{self as pb, scheduler_service_server::SchedulerService as _, why_request::What};
use millrace_scheduler::{
    apply::Abilities,
    exec::{Channels, Grpc, Secrets},
    service::Service,
    state::RunState,
    store::{InstanceId, Keep, Kept, RunId},
};
use millrace_testkit::{Bucket, assert_eventually, queue};
use serde_json::{Value, json};
use tonic::Request;

use crate::world::{World, plan};

impl World {
    /// What came of the tasks of a run, by their numbers and items.
    pub(crate) async fn outputs(&self, run: RunId) -> Vec<Value> {
        let client = self.database.pool.get().await.unwrap();
        let select =
            "SELECT output FROM scheduler.task_done WHERE run_id = $1 AND output IS NOT NULL ORDER BY no, item";
        client.query(select, &[&run.0]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// What a run waits for, asked as users ask.
    async fn why(&self, run: RunId) -> String {
        let grpc = Grpc::new(Channels::new(), Secrets::default());
        let service =
            Service::new(self.store.clone(), grpc, Abilities::default()).with_executors(self.executors("why"));
        let request = pb::WhyRequest { what: Some(What::Run(run.0)) };
        let waiting = service.why(Request::new(request)).await.unwrap().into_inner().waiting;
        let lines: Vec<String> = waiting.iter().map(|it| format!("{}: {}", it.what, it.unmet.join("; "))).collect();
        lines.join("\n")
    }

    /// Waits until so many attempts are alive.
    async fn launched(&self, attempts: i64) {
        assert_eventually!(self.number("SELECT count(*) FROM scheduler.launch").await => attempts, within: 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_waited_for_and_what_it_is_comes_next() {
    let (world, bucket) = (World::new().await, Bucket::create("inbox").await.unwrap());
    let engine = world.engine("one", 8);
    let tasks = format!(
        "    a_marker: {{wait: {{object: {{uri: '{}'}}}}}}\n    b_parts: {{needs: [a_marker], wait: {{object: {{uri: '{}', minSize: 3}}}}}}\n    \
         c_each: {{needs: [b_parts], forEach: {{in: '{{{{ tasks.b_parts.output.objects }}}}', as: it}}, process: {{argv: [sh, -c, 'echo \"\\\"$0\\\"\" > $MILLRACE_OUTPUT', '{{{{ it.uri }}}}']}}}}\n",
        bucket.uri("in/_SUCCESS"),
        bucket.uri("in/part-*.avro"),
    );
    let run = world.run(&plan("objects", &tasks), "r").await.unwrap();
    world.launched(1).await;
    assert_eventually!(world.why(run).await.contains(&format!("task a_marker: {} is not there", bucket.uri("in/_SUCCESS"))) => true, within: 10);
    for key in ["in/part-1 a+b.avro", "in/part-2.avro", "in/part-2.avro.tmp", "in/part-3/x.avro"] {
        bucket.put(key, "rows").await.unwrap();
    }
    bucket.put("in/part-4.avro", "..").await.unwrap();
    bucket.put("in/_SUCCESS", "").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    let outputs = world.outputs(run).await;
    assert_eq!(outputs[0]["uri"], bucket.uri("in/_SUCCESS"));
    assert!(outputs[0]["etag"].is_string() && outputs[0]["modified"].is_string(), "{outputs:?}");
    assert_eq!(outputs[1]["count"], 2, "what is too small, of another name or deeper is none");
    assert_eq!(outputs[2..], [json!(bucket.uri("in/part-1 a+b.avro")), json!(bucket.uri("in/part-2.avro"))]);
    engine.stop().await;
    bucket.remove().await.unwrap();
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_or_a_queue_that_is_not_there_fails_after_a_while_and_says_so_before() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let missing = std::env::var("AWS_ENDPOINT_URL").unwrap() + "/123456789012/no-such-queue";
    let tasks = format!(
        "    object: {{wait: {{object: {{uri: 's3://no-such-bucket-here/key'}}}}}}\n    message: {{wait: {{message: {{queue: '{missing}'}}}}}}\n"
    );
    let run = world.run(&plan("nowhere", &tasks), "r").await.unwrap();
    world.launched(2).await;
    let why = world.why(run).await;
    assert!(why.contains("no-such-bucket-here: there is no such bucket"), "{why}");
    assert!(why.contains("no-such-queue"), "{why}");
    assert_eq!(world.ended(run).await.0, RunState::Failed);
    let errors = world.store.attempts(run, None, None, 10).await.unwrap();
    let errors: Vec<String> = errors.into_iter().filter_map(|attempt| attempt.error).collect();
    assert!(errors.iter().all(|error| error.ends_with("; so for 30 s")), "{errors:?}");
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_waits_and_others_stay_in_their_queue() {
    let (world, queue) = (World::new().await, queue("inbox", Duration::from_secs(5)).await.unwrap());
    let engines = [world.engine("one", 8), world.engine("two", 8)];
    let tasks = format!("    m: {{forEach: {{in: [1, 2, 3, 4]}}, wait: {{message: {{queue: '{}'}}}}}}\n", queue.url());
    let run = world.run(&plan("messages", &tasks), "r").await.unwrap();
    world.launched(4).await;
    assert!(world.why(run).await.contains("task m[0]: queue "), "{}", world.why(run).await);
    for number in 0..6 {
        queue.send(&json!({"number": number}).to_string()).await.unwrap();
    }
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    let outputs = world.outputs(run).await;
    let numbers: BTreeSet<i64> = outputs.iter().filter_map(|it| it["body"]["number"].as_i64()).collect();
    assert_eq!((outputs.len(), numbers.len()), (4, 4), "{outputs:?}");
    assert!(outputs.iter().all(|it| it["id"].is_string() && it["system"]["SentTimestamp"].is_string()), "{outputs:?}");
    assert_eventually!(queue.depth().await.unwrap().visible => 2, within: 30);
    for engine in engines {
        engine.stop().await;
    }
    // Its attempts have ended: nothing is kept for them.
    world.store.keep_house(jiff::Timestamp::now(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM scheduler.kept").await, 0);
    queue.remove().await.unwrap();
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_for_nobody_any_more_is_given_back_at_once() {
    let (world, queue) = (World::new().await, queue("inbox", Duration::from_mins(10)).await.unwrap());
    let engine = world.engine("one", 8);
    let tasks = format!("    m: {{wait: {{message: {{queue: '{}'}}}}}}\n", queue.url());
    let run = world.run(&plan("given-back", &tasks), "r").await.unwrap();
    world.launched(1).await;
    // The poll has begun, and goes on after its wait has ended.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.store.cancel(&[run], "by hand").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Cancelled);
    queue.send("late").await.unwrap();
    assert_eventually!(queue.receive(1, Duration::from_secs(1)).await.unwrap().len() => 1, within: 30);
    engine.stop().await;
    queue.remove().await.unwrap();
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_message_is_kept_once_for_an_attempt_that_is_alive() {
    let world = World::new().await;
    world.run(&plan("kept", "    m: {wait: {message: {queue: 'http://h/1/q'}}}\n"), "r").await.unwrap();
    let launch = world.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
    let (first, second) = (
        Kept { output: json!({"body": "a\0b"}), receipt: "first".to_owned() },
        Kept { output: json!({"body": 2}), receipt: "second".to_owned() },
    );
    assert_eq!(world.store.keep(launch.token, &first).await.unwrap(), Keep::Kept);
    let Keep::Other(kept) = world.store.keep(launch.token, &second).await.unwrap() else { panic!() };
    assert_eq!(kept.receipt, "first");
    assert_eq!(world.store.keep(launch.token + 1, &second).await.unwrap(), Keep::Gone);
    let done = millrace_scheduler::store::Outcome::Succeeded(None);
    world.store.finish(&[millrace_scheduler::store::Report::new(launch.token, done)]).await.unwrap();
    assert_eq!(world.store.keep(launch.token, &first).await.unwrap(), Keep::Gone);
    assert_eq!(world.number("SELECT count(*) FROM scheduler.kept").await, 0, "gone with the next that came");
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_complete_when_its_partitions_have_gone_past_the_moment_or_are_idle() {
    let world = World::new().await;
    let client = kafka();
    let admin = Admin::new(&client).unwrap();
    let name = format!("waits-{}", uuid::Uuid::new_v4().simple());
    let engine = world.engine_of("one", 8, world.executors("one").with_kafka(admin.clone()));
    let tasks = format!(
        "    strict: {{wait: {{topic: {{name: {name}, until: '2026-11-01T01:00:00Z'}}}}}}\n    \
         idle: {{wait: {{topic: {{name: {name}, until: '2026-11-01T01:00:00Z', idle: 1s}}}}}}\n"
    );
    let run = world.run(&plan("topics", &tasks), "r").await.unwrap();
    world.launched(2).await;
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 2,
        replication: 1,
        config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
    };
    admin.ensure_topics(&[spec]).await.unwrap();
    // Nothing is written to it, and the moment is long ago: what was told that it may be idle is complete, with nothing.
    assert_eventually!(world.number("SELECT count(*) FROM scheduler.launch").await => 1, within: 20);
    let producer = Producer::new(&client, Config::new("waits"), None).unwrap();
    let send = async |partition: i32, at: &str| {
        let timestamp_ms = Some(at.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let record = Outgoing {
            topic: name.as_str().into(),
            partition: Some(partition),
            key: None,
            value: Some("x".into()),
            headers: millrace_kafka::Headers::default(),
            timestamp_ms,
        };
        assert!(producer.send_all(vec![record]).await.iter().all(Result::is_ok));
    };
    send(0, "2026-11-01T00:59:59.999Z").await;
    send(0, "2026-11-01T01:00:00Z").await;
    send(1, "2026-11-01T00:10:00Z").await;
    send(1, "2026-11-01T00:20:00Z").await;
    assert_eq!(world.store.run(run).await.unwrap().unwrap().state, RunState::Running);
    send(1, "2026-11-01T01:30:00Z").await;
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    let outputs = world.outputs(run).await;
    let by = |idle: usize| outputs.iter().find(|it| it["idle"].as_array().map(Vec::len) == Some(idle)).unwrap();
    assert_eq!(by(0)["offsets"], json!({"0": 1, "1": 2}));
    assert_eq!(by(2)["offsets"], json!({"0": 0, "1": 0}));
    engine.stop().await;
    admin.delete_topics(&[name]).await.unwrap();
    world.database.remove().await.unwrap();
}

fn kafka() -> Client {
    let brokers =
        std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("run `make test`, or start the stack and source its env file");
    millrace_kafka::Args::plaintext(brokers).client().unwrap()
}
