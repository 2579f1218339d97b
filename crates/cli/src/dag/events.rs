//! `millrace dag event` and `events`.

use std::{io::Read as _, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use millrace_proto::scheduler::v1::{
    self as proto, EventGroupState, ListEventsRequest, NewEvent, RecordEventsRequest, RecordedEvent,
};
use millrace_runtime::ConfigError;
use serde::Serialize;
use serde_json::Value;

use super::{Scheduler, args::Name, view};
use crate::Output;

/// Records an event. One of an id that is known changes nothing: doing it again is safe.
#[derive(Debug, clap::Args)]
pub(crate) struct Record {
    /// Where it comes from: what triggers name.
    source: String,
    /// What makes it the event that it is, in its source.
    #[arg(long)]
    id: String,
    /// What kind of event: object.created.
    #[arg(long = "type", default_value = "")]
    kind: String,
    /// What it is about.
    #[arg(long, default_value = "")]
    subject: String,
    /// What it says: JSON, or @FILE that holds it; @- is standard input.
    #[arg(long, default_value = "null", value_name = "JSON|@FILE")]
    data: String,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// Lists events and what became of each, those that were recorded last first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this source.
    source: Option<String>,
    /// Only the one of this id, with what it says.
    #[arg(long)]
    id: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Only those of lower numbers than this, of one source.
    #[arg(long, value_name = "NUMBER", requires = "source", value_parser = clap::value_parser!(i64).range(1..))]
    before: Option<i64>,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// An event that was recorded.
#[derive(Clone, Debug, Serialize)]
struct Recorded {
    source: String,
    id: String,
    /// Its number in its source.
    number: i64,
    /// It was known already.
    existed: bool,
}

/// An event.
#[derive(Clone, Debug, Serialize)]
struct Event {
    source: String,
    number: i64,
    id: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    at: Option<Timestamp>,
    bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    uses: Vec<Use>,
    pending: Vec<Pending>,
}

/// What a trigger has made of it.
#[derive(Clone, Debug, Serialize)]
struct Use {
    #[serde(flatten)]
    name: Name,
    trigger: String,
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    key: String,
    events: u32,
    due_at: Option<Timestamp>,
    run: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// A trigger that has not looked at it.
#[derive(Clone, Debug, Serialize)]
struct Pending {
    #[serde(flatten)]
    name: Name,
    trigger: String,
    paused: bool,
}

impl From<proto::EventUse> for Use {
    fn from(it: proto::EventUse) -> Self {
        let proto::EventUse { r#ref, trigger, state, key, events, due_at, run, reason } = it;
        let state = view::word(state, EventGroupState::as_str_name, "EVENT_GROUP_");
        let (due_at, run) = (view::time(due_at), (run != 0).then_some(run));
        Self { name: r#ref.into(), trigger, state, key, events, due_at, run, reason }
    }
}

impl From<proto::Event> for Event {
    fn from(it: proto::Event) -> Self {
        let proto::Event { source, id, r#type: kind, subject, data, seq: number, at, bytes, uses, pending } = it;
        let pending = pending.into_iter().map(|proto::EventPending { r#ref, trigger, paused }| Pending {
            name: r#ref.into(),
            trigger,
            paused,
        });
        Self {
            source,
            number,
            id,
            kind,
            subject,
            at: view::time(at),
            bytes,
            data: serde_json::from_str(&data).ok(),
            uses: uses.into_iter().map(Use::from).collect(),
            pending: pending.collect(),
        }
    }
}

impl Use {
    /// `hourly/acme arrived: run 17`, `hourly arrived: open, 2 events, due at ..`.
    fn sentence(&self) -> String {
        let Self { name, trigger, state, key, events, due_at, run, reason } = self;
        let key = if key.is_empty() { String::new() } else { format!(" {key}") };
        let what = match run {
            Some(run) => format!("run {run}"),
            None if state == "open" || state == "sealed" => {
                let due = due_at.map(|due| format!(", due at {due}")).unwrap_or_default();
                format!("{state}{key}, {events} events{due}")
            }
            None => format!("{state}: {reason}"),
        };
        format!("{name} {trigger}: {what}")
    }
}

impl Pending {
    fn sentence(&self) -> String {
        let Self { name, trigger, paused } = self;
        let why = if *paused { "paused, not looked at" } else { "not looked at" };
        format!("{name} {trigger}: {why}")
    }
}

const HEAD: [&str; 6] = ["AT", "SOURCE", "NUMBER", "ID", "TYPE", "BECAME"];

impl Event {
    /// What became of it, in one line.
    fn became(&self) -> String {
        let said = self.uses.iter().map(Use::sentence).chain(self.pending.iter().map(Pending::sentence));
        let said = said.collect::<Vec<_>>().join("; ");
        if said.is_empty() { "matched by nothing".to_owned() } else { said }
    }

    fn cells(&self) -> Vec<String> {
        let Self { source, number, id, kind, at, .. } = self;
        let became = view::one_line(&self.became());
        vec![view::shown(*at), source.clone(), number.to_string(), view::one_line(id), view::one_line(kind), became]
    }
}

impl Record {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { source, id, kind, subject, data, scheduler } = self;
        let event = NewEvent { id: id.clone(), r#type: kind, subject, data: read(&data)? };
        let request = RecordEventsRequest { source: source.clone(), events: vec![event] };
        let answer = scheduler.answer(scheduler.client()?.record_events(request).await)?;
        let first = answer.events.into_iter().next().context("the scheduler's answer has no event")?;
        let RecordedEvent { seq: number, existed } = first;
        output.value(&Recorded { source, id, number, existed }, |it| {
            let Recorded { source, id, number, existed } = it;
            let how = if *existed { "was known already" } else { "recorded" };
            format!("event {id} of source {source}: {how}, number {number}")
        })
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { source, id, limit, before, scheduler } = self;
        let (source, id, before) = (source.unwrap_or_default(), id.unwrap_or_default(), before.unwrap_or_default());
        let request = ListEventsRequest { source, id, limit, before };
        let listed = scheduler.answer(scheduler.client()?.list_events(request).await)?;
        let events: Vec<Event> = listed.events.into_iter().map(Event::from).collect();
        output.rows(&events, &HEAD, Event::cells)
    }
}

/// The JSON that was given, or that is in the file that was.
fn read(data: &str) -> anyhow::Result<String> {
    let text = match data.strip_prefix('@') {
        None => data.to_owned(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read standard input")?;
            text
        }
        Some(file) => std::fs::read_to_string(Path::new(file))
            .map_err(|error| ConfigError::new(format!("--data: {file}: {error}")))?,
    };
    serde_json::from_str::<Value>(&text).map_err(|error| {
        ConfigError::new(format!("--data: expected JSON, such as '{{\"file\": \"a.csv\"}}' or '\"text\"': {error}"))
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dag::view::tests::at, output::table};

    #[test]
    fn an_event_says_what_became_of_it() {
        let r#ref = || Some(proto::DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() });
        let of = |trigger: &str, state: EventGroupState, run: i64, reason: &str| proto::EventUse {
            r#ref: r#ref(),
            trigger: trigger.to_owned(),
            state: state as i32,
            key: "k".to_owned(),
            events: 2,
            due_at: (state == EventGroupState::EventGroupOpen).then(|| at("2026-11-21T10:06:00Z")),
            run,
            reason: reason.to_owned(),
        };
        let event = |seq: i64, uses, pending| proto::Event {
            source: "s3".to_owned(),
            id: format!("e{seq}"),
            r#type: "made".to_owned(),
            seq,
            at: Some(at("2026-11-21T10:05:00Z")),
            uses,
            pending,
            ..proto::Event::default()
        };
        let waits = proto::EventPending { r#ref: r#ref(), trigger: "c".to_owned(), paused: true };
        let events = [
            event(4, vec![], vec![waits]),
            event(3, vec![of("a", EventGroupState::EventGroupOpen, 0, "")], vec![]),
            event(
                2,
                vec![
                    of("a", EventGroupState::EventGroupRun, 17, ""),
                    of("b", EventGroupState::EventGroupRefused, 0, "no such day"),
                ],
                vec![],
            ),
            event(1, vec![], vec![]),
        ];
        let rows: Vec<Vec<String>> = events.into_iter().map(|it| Event::from(it).cells()).collect();
        let expected = "\
AT                    SOURCE  NUMBER  ID  TYPE  BECAME
2026-11-21T10:05:00Z  s3      4       e4  made  hourly/acme c: paused, not looked at
2026-11-21T10:05:00Z  s3      3       e3  made  hourly/acme a: open k, 2 events, due at 2026-11-21T10:06:00Z
2026-11-21T10:05:00Z  s3      2       e2  made  hourly/acme a: run 17; hourly/acme b: refused: no such day
2026-11-21T10:05:00Z  s3      1       e1  made  matched by nothing
";
        assert_eq!(table(&HEAD, &rows), expected);
    }

    #[test]
    fn data_is_json_or_a_file_of_it() {
        assert_eq!(read("{\"a\": 1}").unwrap(), "{\"a\": 1}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.json");
        std::fs::write(&file, "[1]").unwrap();
        assert_eq!(read(&format!("@{}", file.display())).unwrap(), "[1]");
        assert!(read("text").unwrap_err().to_string().starts_with("--data: expected JSON"));
        assert!(read("@nowhere").unwrap_err().to_string().starts_with("--data: nowhere: "));
    }
}
