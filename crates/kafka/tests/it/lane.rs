//! What a lane promises, against a real broker. The lane under test is a process of its own: `examples/copy_lane.rs`.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{client, eventually, numbers, outgoing, producer, read_all, send, text, topics, unique};
use millrace_core::Code;
use millrace_kafka::{
    Admin, Lane, Outgoing,
    admin::TopicSpec,
    lane::{Assigned, Input, LaneConfig, Limits, Outputs, Processor, Unavailable},
};
use millrace_runtime::Shutdown;

/// The topics and the group of one test.
struct Story {
    input: String,
    output: String,
    dead: String,
    group: String,
}

impl Story {
    async fn new(name: &str, partitions: i32) -> Self {
        let name = unique(name);
        let story = Self {
            input: format!("{name}.in"),
            output: format!("{name}.out"),
            dead: format!("{name}.dead"),
            group: name,
        };
        topics(&[&story.input, &story.output, &story.dead], partitions).await;
        story
    }

    /// Starts a lane as a process of its own.
    fn spawn(&self, instance: &str, protocol: &str) -> Child {
        let deps = std::env::current_exe().unwrap();
        let example = deps.parent().unwrap().with_file_name("examples").join("copy_lane");
        Command::new(example)
            .args([&self.input, &self.output, &self.dead, &self.group, &format!("{}-{instance}", self.group), protocol])
            .stdin(Stdio::piped())
            .spawn()
            .expect("cargo has built the example beside the tests")
    }

    /// Starts a lane on a thread of this process.
    fn start<P: Processor + 'static>(&self, processor: P) -> Running {
        let config = LaneConfig {
            service: "copy",
            pipeline: "test".to_owned(),
            group: self.group.clone(),
            topics: vec![self.input.clone()],
            dead_topic: self.dead.clone(),
            instance_id: self.group.clone(),
            index: 0,
            limits: Limits::default(),
        };
        let shutdown = Shutdown::new();
        let lane = Lane::new(&client(), config, processor, opentelemetry::global::meter("test"));
        let asked = shutdown.clone();
        Running { shutdown, thread: Some(std::thread::spawn(move || lane.run(asked))) }
    }

    async fn copied(&self, count: usize, within: Duration) {
        eventually("all records are copied", within, async || read_all(&self.output).await.len() >= count).await;
    }
}

struct Running {
    shutdown: Shutdown,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    async fn stop(mut self) {
        self.shutdown.trigger();
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
    }
}

/// Ends a process in order: its standard input ends.
async fn end(mut child: Child) {
    drop(child.stdin.take());
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

/// Copies, with a say in what happens.
struct Copy<F>(F);

impl<F: FnMut(&Input<'_>, &mut Outputs) -> Result<(), Unavailable> + Send> Processor for Copy<F> {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> Result<(), Unavailable> {
        batch.iter().try_for_each(|input| (self.0)(input, out))
    }
}

/// Copies, and commits a word beside the offsets.
struct Worded {
    output: String,
    word: &'static str,
    told: Arc<std::sync::Mutex<Vec<Assigned>>>,
    /// Partitions of records that came before anything was told of them.
    early: Arc<AtomicUsize>,
}

impl Processor for Worded {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> Result<(), Unavailable> {
        let told = self.told.lock().unwrap();
        for input in batch {
            let known = told.iter().any(|it| (&*it.topic, it.partition) == (input.topic, input.partition));
            self.early.fetch_add(usize::from(!known), Ordering::Relaxed);
            out.send(input, &self.output, input.value.unwrap_or_default(), &[]);
        }
        Ok(())
    }

    fn metadata(&self) -> Option<String> {
        Some(self.word.to_owned())
    }

    fn assigned(&mut self, partitions: &[Assigned]) {
        self.told.lock().unwrap().extend_from_slice(partitions);
    }
}

#[tokio::test]
async fn the_next_owner_of_a_partition_is_told_the_last_ones_word_before_it_begins() {
    let story = Story::new("worded", 2).await;
    let mut expected = None;
    for (round, word) in ["first", "second", "third"].into_iter().enumerate() {
        let (told, early) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let processor =
            Worded { output: story.output.clone(), word, told: Arc::clone(&told), early: Arc::clone(&early) };
        let lane = story.start(processor);
        let from = round * 200;
        send(&story.input, from..from + 200).await;
        story.copied((round + 1) * 200, Duration::from_mins(1)).await;
        lane.stop().await;
        assert_eq!(early.load(Ordering::Relaxed), 0, "records of a partition of which nothing was told");
        let told = told.lock().unwrap().clone();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|it| it.metadata.as_deref() == expected), "{told:?}");
        expected = Some(word);
    }
    assert_eq!(numbers(&story.output).await, (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_killed_lane_repeats_nothing_and_loses_nothing() {
    let story = Story::new("killed", 4).await;
    let sending = send(&story.input, 0..20_000);
    let killing = async {
        for round in 1..=4 {
            let mut lane = story.spawn("only", "classic");
            story.copied(round * 2_000, Duration::from_mins(1)).await;
            lane.kill().unwrap();
            lane.wait().unwrap();
        }
    };
    tokio::join!(sending, killing);
    let lane = story.spawn("only", "classic");
    story.copied(20_000, Duration::from_mins(1)).await;
    end(lane).await;
    assert_eq!(numbers(&story.output).await, (0..20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lane_that_was_frozen_longer_than_a_transaction_may_take_goes_on_and_repeats_nothing() {
    let story = Story::new("frozen", 4).await;
    let lane = story.spawn("only", "classic");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &lane.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let sending = async {
        for chunk in 0..100 {
            send(&story.input, chunk * 200..(chunk + 1) * 200).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let freezing = async {
        for round in 1..=2 {
            story.copied(round * 2_000, Duration::from_mins(1)).await;
            signal("-STOP");
            // The broker ends the transaction after 10 s, and the membership.
            tokio::time::sleep(Duration::from_secs(13)).await;
            signal("-CONT");
        }
    };
    tokio::join!(sending, freezing);
    story.copied(20_000, Duration::from_mins(1)).await;
    end(lane).await;
    assert_eq!(numbers(&story.output).await, (0..20_000).collect::<Vec<_>>());
}

async fn lanes_come_and_go(protocol: &str) {
    let story = Story::new("rebalance", 6).await;
    let sending = async {
        for chunk in 0..40 {
            send(&story.input, chunk * 250..(chunk + 1) * 250).await;
        }
    };
    let moving = async {
        let first = story.spawn("first", protocol);
        story.copied(1_000, Duration::from_mins(1)).await;
        let second = story.spawn("second", protocol);
        story.copied(4_000, Duration::from_mins(1)).await;
        end(first).await;
        let third = story.spawn("third", protocol);
        (second, third)
    };
    let ((), (second, third)) = tokio::join!(sending, moving);
    story.copied(10_000, Duration::from_mins(1)).await;
    end(second).await;
    end(third).await;
    assert_eq!(numbers(&story.output).await, (0..10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn partitions_move_between_lanes_without_loss_or_repeat() {
    lanes_come_and_go("classic").await;
}

#[tokio::test]
async fn partitions_move_between_lanes_under_kip_848_too() {
    lanes_come_and_go("consumer").await;
}

#[tokio::test]
async fn dead_letters_are_there_exactly_once_however_often_the_lane_dies() {
    let story = Story::new("dead", 2).await;
    let records: Vec<Outgoing> = (0..3_000)
        .map(|n| Outgoing {
            value: Some(if n % 100 == 0 { "poison".into() } else { n.to_string().into() }),
            ..outgoing(&story.input, n.to_string())
        })
        .collect();
    for sent in producer().send_all(records).await {
        sent.unwrap();
    }
    for round in 0..3 {
        let mut lane = story.spawn("only", "classic");
        story.copied(300 + round * 600, Duration::from_mins(1)).await;
        lane.kill().unwrap();
        lane.wait().unwrap();
    }
    let lane = story.spawn("only", "classic");
    story.copied(2_970, Duration::from_mins(1)).await;
    end(lane).await;
    assert_eq!(numbers(&story.output).await.len(), 2_970);
    let letters = read_all(&story.dead).await;
    let mut keys: Vec<usize> = letters
        .iter()
        .map(|letter| {
            let record = &letter.record;
            assert_eq!(record.headers.text("dead-reason"), Some("it is poison"));
            assert_eq!(record.headers.text("dead-group"), Some(&*story.group));
            assert_eq!(text(letter), "poison");
            std::str::from_utf8(record.key.as_deref().unwrap()).unwrap().parse().unwrap()
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..3_000).step_by(100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_redriven_record_is_for_one_group_only_and_loses_the_mark() {
    let story = Story::new("redriven", 1).await;
    let mut records: Vec<Outgoing> = (0..3).map(|n| outgoing(&story.input, n.to_string())).collect();
    records[0].headers.push("redrive-for", "somebody else");
    records[1].headers.push("redrive-for", story.group.clone());
    for sent in producer().send_all(records).await {
        sent.unwrap();
    }
    let output = story.output.clone();
    let lane = story.start(Copy(move |input: &Input<'_>, out: &mut Outputs| {
        out.send(input, &output, input.value.unwrap(), &[("stage", b"copied")]);
        Ok(())
    }));
    story.copied(2, Duration::from_secs(30)).await;
    lane.stop().await;
    let copies = read_all(&story.output).await;
    assert_eq!(copies.iter().map(text).collect::<Vec<_>>(), ["1", "2"]);
    assert!(copies.iter().all(|copy| copy.record.headers.get("redrive-for").is_none()));
    assert!(copies.iter().all(|copy| copy.record.headers.text("stage") == Some("copied")));
    let lag = Admin::new(&client()).unwrap().lag(&story.group, std::slice::from_ref(&story.input)).await.unwrap();
    assert_eq!(lag.total(), Some(0), "what is for others counts as read");
}

#[tokio::test]
async fn a_lane_waits_for_a_dependency_and_stays_a_member() {
    let story = Story::new("away", 2).await;
    send(&story.input, 0..100).await;
    let (away, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_away, counted, output) = (Arc::clone(&away), Arc::clone(&tries), story.output.clone());
    let lane = story.start(Copy(move |input: &Input<'_>, out: &mut Outputs| {
        if is_away.load(Ordering::Relaxed) {
            counted.fetch_add(1, Ordering::Relaxed);
            return Err(Unavailable { what: "test", source: "it is away".into() });
        }
        out.send(input, &output, input.value.unwrap(), &[]);
        Ok(())
    }));
    eventually("it tries again", Duration::from_secs(30), async || tries.load(Ordering::Relaxed) > 5).await;
    send(&story.input, 100..200).await;
    assert!(read_all(&story.output).await.is_empty() && read_all(&story.dead).await.is_empty());
    away.store(false, Ordering::Relaxed);
    story.copied(200, Duration::from_secs(30)).await;
    lane.stop().await;
    assert_eq!(numbers(&story.output).await, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_marker_of_a_transaction_is_no_lag_and_a_record_is() {
    let story = Story::new("marker", 1).await;
    send(&story.input, 0..50).await;
    let lane = story.spawn("first", "classic");
    story.copied(50, Duration::from_secs(30)).await;
    end(lane).await;
    // A second stage, which reads what transactions wrote.
    let second = Story {
        input: story.output.clone(),
        output: story.dead.clone(),
        dead: story.input.clone(),
        group: format!("{}-second", story.group),
    };
    let lane = second.spawn("second", "classic");
    second.copied(50, Duration::from_secs(30)).await;
    end(lane).await;
    let admin = Admin::new(&client()).unwrap();
    let lag = async || admin.lag(&second.group, std::slice::from_ref(&second.input)).await.unwrap();
    let idle = lag().await;
    assert_eq!(idle.total(), Some(0), "{idle:?}");
    assert!(idle.0[0].committed < idle.0[0].end, "there is a marker: {idle:?}");
    send(&second.input, 50..53).await;
    eventually("three records are lag", Duration::from_secs(10), async || lag().await.total() == Some(3)).await;
}

#[tokio::test]
async fn an_output_over_kafkas_limit_is_a_dead_letter_and_its_neighbours_go_through() {
    let story = Story::new("large", 1).await;
    send(&story.input, 0..10).await;
    let output = story.output.clone();
    let lane = story.start(Copy(move |input: &Input<'_>, out: &mut Outputs| {
        let large = vec![b'x'; 2_000_000];
        out.send(input, &output, if input.value == Some(b"5") { &large } else { input.value.unwrap() }, &[]);
        Ok(())
    }));
    story.copied(9, Duration::from_secs(30)).await;
    lane.stop().await;
    assert_eq!(numbers(&story.output).await, [0, 1, 2, 3, 4, 6, 7, 8, 9]);
    let letters = read_all(&story.dead).await;
    assert_eq!(letters.iter().map(text).collect::<Vec<_>>(), ["5"]);
    assert_eq!(letters[0].record.headers.text("dead-code"), Some(Code::TooLarge.as_str()));
}

#[tokio::test]
async fn where_a_topic_takes_less_than_a_set_only_the_record_that_is_too_large_is_a_dead_letter() {
    let story = Story::new("narrow", 1).await;
    let output = format!("{}.narrow", story.output);
    let config = [("max.message.bytes".to_owned(), "20000".to_owned())].into();
    let narrow = TopicSpec { name: output.clone(), partitions: 1, replication: 1, config };
    Admin::new(&client()).unwrap().ensure_topics(&[narrow]).await.unwrap();
    send(&story.input, 0..200).await;
    let target = output.clone();
    let lane = story.start(Copy(move |input: &Input<'_>, out: &mut Outputs| {
        let number = std::str::from_utf8(input.value.unwrap()).unwrap();
        let value = format!("{number} {}", noise(if number == "77" { 40_000 } else { 1_000 }));
        out.send(input, &target, value.as_bytes(), &[]);
        Ok(())
    }));
    eventually("all but one are copied", Duration::from_secs(30), async || read_all(&output).await.len() >= 199).await;
    lane.stop().await;
    let number = |found| text(found).split(' ').next().unwrap().parse().unwrap();
    let copied: Vec<usize> = read_all(&output).await.iter().map(number).collect();
    assert_eq!(copied, (0..200).filter(|&number| number != 77).collect::<Vec<_>>(), "in order");
    let letters = read_all(&story.dead).await;
    assert_eq!(letters.iter().map(text).collect::<Vec<_>>(), ["77"]);
    assert_eq!(letters[0].record.headers.text("dead-code"), Some(Code::TooLarge.as_str()));
}

/// Text that hardly gets smaller when it is compressed.
fn noise(length: usize) -> String {
    let mut state = length as u64 | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn a_second_lane_of_the_same_id_ends_the_first() {
    let story = Story::new("fenced", 1).await;
    send(&story.input, 0..10).await;
    let copy = |output: String| {
        Copy(move |input: &Input<'_>, out: &mut Outputs| {
            out.send(input, &output, input.value.unwrap(), &[]);
            Ok(())
        })
    };
    let first = story.start(copy(story.output.clone()));
    story.copied(10, Duration::from_secs(30)).await;
    let second = story.start(copy(story.output.clone()));
    let thread = first.thread.unwrap();
    let sending = async {
        let mut next = 10;
        while !thread.is_finished() {
            send(&story.input, next..next + 10).await;
            next += 10;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        next
    };
    let count = tokio::time::timeout(Duration::from_mins(1), sending).await.expect("the first ends");
    let error = format!("{:#}", thread.join().unwrap().unwrap_err());
    assert!(error.contains("another instance has taken over"), "{error}");
    story.copied(count, Duration::from_mins(1)).await;
    second.stop().await;
    assert_eq!(numbers(&story.output).await, (0..count).collect::<Vec<_>>());
}
