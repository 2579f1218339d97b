//! Waits until what came to a topic before a moment is there.
//!
//! A partition is complete when it has a record whose timestamp is not before the moment: records of one producer are in the
//! order of their times. A partition to which nothing is written never gets one; where the document says how long is long
//! enough (`idle`), it is complete so long after the moment.

use std::time::Duration;

use jiff::Timestamp;
use millrace_kafka::{Admin, Error, admin::Moment};
use serde_json::{Map, Value, json};

use super::{
    PATIENCE,
    looks::{Looks, PACE},
    object::wrong,
    trouble::Trouble,
};
use crate::{
    document::WaitTopic,
    exec::{End, Ended},
};

/// What is said where the scheduler has no Kafka.
pub const NO_KAFKA: &str = "this scheduler knows no Kafka: start it with --kafka-brokers (KAFKA_BOOTSTRAP_SERVERS)";

/// Partitions that are named in an answer to why it waits.
const NAMED: usize = 5;

/// What is looked at together: a topic, and a moment in milliseconds since 1970.
type Spot = (String, i64);

/// What a look saw.
#[derive(Clone, Debug)]
enum Seen {
    Partitions(Vec<Moment>),
    /// There is no such topic.
    Missing,
    /// Not known now: may pass by itself.
    Unknown(String),
    Wrong(&'static str, String),
}

/// What that means to a wait.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Complete(Value),
    Not(String),
    Wrong(&'static str, String),
}

/// Looks at topics, together for all who wait. Cheap to clone.
#[derive(Clone)]
pub(super) struct Topics(Looks<Spot, Seen>);

impl Topics {
    pub(super) fn new(admin: Admin) -> Self {
        Self(Looks::new(PACE, move |spot| look(admin.clone(), spot)))
    }

    pub(super) async fn wait(&self, spec: &WaitTopic) -> Ended {
        let wanted = match Wanted::read(spec) {
            Ok(wanted) => wanted,
            Err(problem) => return Ended::hopeless(problem),
        };
        let (mut watched, mut trouble) = (self.0.watch(wanted.spot()), Trouble::default());
        while let Some(seen) = watched.next().await {
            let verdict = wanted.judge(&seen, Timestamp::now());
            let lasts = trouble.lasts(matches!(verdict, Verdict::Wrong(..)), std::time::Instant::now(), PATIENCE);
            match verdict {
                Verdict::Complete(output) => return Ended::succeeded(Some(output)),
                Verdict::Wrong(code, message) if lasts => return wrong(code, &message),
                Verdict::Wrong(..) | Verdict::Not(_) => {}
            }
        }
        Ended::new(End::Interrupted("nobody looks at the topic any more".to_owned()))
    }

    /// What is not complete, by a look of now.
    pub(super) async fn unmet(&self, spec: &WaitTopic) -> String {
        let wanted = match Wanted::read(spec) {
            Ok(wanted) => wanted,
            Err(problem) => return problem,
        };
        match wanted.judge(&self.0.once(wanted.spot()).await, Timestamp::now()) {
            Verdict::Complete(_) => format!("topic {} is complete since a moment ago", spec.name),
            Verdict::Not(why) | Verdict::Wrong(_, why) => why,
        }
    }
}

async fn look(admin: Admin, (topic, at): Spot) -> Seen {
    match admin.moment(&topic, at).await {
        Ok(partitions) => Seen::Partitions(partitions),
        Err(Error::UnknownTopic(_)) => Seen::Missing,
        Err(error @ Error::Unauthorized { .. }) => Seen::Wrong("AccessDenied", format!("topic {topic}: {error}")),
        Err(error) if error.is_retriable() => Seen::Unknown(error.to_string()),
        Err(error) => Seen::Wrong("Refused", format!("topic {topic}: {error}")),
    }
}

/// What one wait wants.
struct Wanted<'a> {
    spec: &'a WaitTopic,
    until: Timestamp,
}

impl<'a> Wanted<'a> {
    fn read(spec: &'a WaitTopic) -> Result<Self, String> {
        let until =
            spec.until.as_deref().ok_or("wait.topic.until: this run has no data interval, so it must be said")?;
        let until = until.parse::<Timestamp>().map_err(|problem| format!("wait.topic.until: {problem}"))?;
        Ok(Self { spec, until })
    }

    fn spot(&self) -> Spot {
        (self.spec.name.clone(), self.until.as_millisecond())
    }

    fn judge(&self, seen: &Seen, now: Timestamp) -> Verdict {
        let (name, until) = (&self.spec.name, self.until);
        let partitions = match seen {
            Seen::Partitions(partitions) => partitions,
            Seen::Missing => {
                return Verdict::Not(format!("there is no topic {name} yet: `millrace pipeline apply` makes it"));
            }
            Seen::Unknown(why) => return Verdict::Not(format!("topic {name}: cannot look: {why}; trying again")),
            Seen::Wrong(code, why) => return Verdict::Wrong(code, why.clone()),
        };
        let idle_at = self.spec.idle.map(|idle| after(until, idle.into()));
        let idles = idle_at.is_some_and(|at| now >= at);
        let open: Vec<i32> = partitions.iter().filter(|it| it.next.is_none()).map(|it| it.partition).collect();
        if open.is_empty() || idles {
            return Verdict::Complete(self.output(partitions));
        }
        let named: Vec<String> = open.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if open.len() > NAMED { format!(" and {} more", open.len() - NAMED) } else { String::new() };
        let idle = match idle_at {
            Some(at) => format!("; without one they are complete at {at}"),
            None => "; where nothing is written to one, `idle` says how long is long enough".to_owned(),
        };
        Verdict::Not(format!(
            "topic {name}: no record of {until} or later in partition {}{more}{idle}",
            named.join(", ")
        ))
    }

    /// What is to be read of each partition: the records before its offset.
    fn output(&self, partitions: &[Moment]) -> Value {
        let offset = |it: &Moment| (it.partition.to_string(), Value::from(it.next.unwrap_or(it.end)));
        let offsets: Map<String, Value> = partitions.iter().map(offset).collect();
        let idle: Vec<i32> = partitions.iter().filter(|it| it.next.is_none()).map(|it| it.partition).collect();
        json!({"topic": self.spec.name, "until": self.until.to_string(), "offsets": offsets, "idle": idle})
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: &str = "2026-11-01T01:00:00Z";

    fn spec(idle: Option<u64>) -> WaitTopic {
        let idle = idle.map(millrace_core::Span::seconds);
        WaitTopic { name: "mail.events".to_owned(), until: Some(UNTIL.to_owned()), idle }
    }

    fn judge(idle: Option<u64>, seen: &Seen, now: &str) -> Verdict {
        Wanted::read(&spec(idle)).unwrap().judge(seen, now.parse().unwrap())
    }

    fn partitions(next: &[Option<i64>]) -> Seen {
        let moment =
            |(partition, next): (usize, &Option<i64>)| Moment { partition: partition as i32, next: *next, end: 90 };
        Seen::Partitions(next.iter().enumerate().map(moment).collect())
    }

    #[test]
    fn it_is_complete_when_every_partition_has_gone_past_the_moment() {
        let Verdict::Complete(output) = judge(None, &partitions(&[Some(7), Some(8)]), UNTIL) else { panic!() };
        assert_eq!(output["offsets"], json!({"0": 7, "1": 8}));
        assert_eq!(output["idle"], json!([]));
        let Verdict::Not(why) = judge(None, &partitions(&[Some(7), None]), "2027-01-01T00:00:00Z") else { panic!() };
        assert!(
            why.starts_with("topic mail.events: no record of 2026-11-01T01:00:00Z or later in partition 1"),
            "{why}"
        );
    }

    #[test]
    fn an_idle_partition_is_complete_when_its_time_has_passed_and_ends_where_it_ends() {
        let open = partitions(&[Some(7), None]);
        let Verdict::Not(why) = judge(Some(300), &open, "2026-11-01T01:04:59Z") else { panic!() };
        assert!(why.contains("complete at 2026-11-01T01:05:00Z"), "{why}");
        let Verdict::Complete(output) = judge(Some(300), &open, "2026-11-01T01:05:00Z") else { panic!() };
        assert_eq!((output["offsets"].clone(), output["idle"].clone()), (json!({"0": 7, "1": 90}), json!([1])));
    }

    #[test]
    fn a_topic_that_is_not_there_is_waited_for() {
        let Verdict::Not(why) = judge(Some(0), &Seen::Missing, "2027-01-01T00:00:00Z") else { panic!() };
        assert!(why.contains("there is no topic mail.events yet"), "{why}");
    }
}
