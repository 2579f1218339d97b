//! Events: checked before anything is written, and told with what became of them.

use millrace_proto::scheduler::v1 as pb;
use serde_json::Value;

use super::{MOST, Service, convert, limited};
use crate::{
    Error,
    events::{MAX_DATA, MAX_NAME},
    state::GroupState,
    store::{EventQuery, EventRow, NewEvent, Pending, Use},
};

/// Events of one call.
const MAX_EVENTS: usize = 1_000;
/// Bytes of a source's name.
const MAX_SOURCE: usize = 127;
/// How deep an event's data may be nested.
const MAX_DEPTH: usize = 64;

impl Service {
    pub(super) async fn record(&self, request: pb::RecordEventsRequest) -> Result<pb::RecordEventsResponse, Error> {
        let pb::RecordEventsRequest { source, events } = request;
        let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if source.len() > MAX_SOURCE || !source.as_bytes().first().is_some_and(is_first) || !source.bytes().all(fits) {
            let expected = "expected letters, digits and ._:/-, a letter or a digit first, at most 127";
            return Err(Error::Invalid(format!("source {source:?}: {expected}")));
        }
        if events.len() > MAX_EVENTS {
            return Err(Error::Invalid(format!("events: {}; at most {MAX_EVENTS} in one call", events.len())));
        }
        let mut new = Vec::with_capacity(events.len());
        let mut wrong = Vec::new();
        for (place, event) in events.into_iter().enumerate() {
            match checked(event) {
                Ok(event) => new.push(event),
                Err(problem) => wrong.push(format!("events[{place}].{problem}")),
            }
        }
        if !wrong.is_empty() {
            wrong.truncate(20);
            return Err(Error::Invalid(format!("nothing was recorded: {}", wrong.join("; "))));
        }
        let recorded = if new.is_empty() { Vec::new() } else { self.store.record_events(&source, &new).await? };
        let events = recorded.into_iter().map(|it| pb::RecordedEvent { seq: it.seq, existed: it.existed }).collect();
        Ok(pb::RecordEventsResponse { events })
    }

    pub(super) async fn list(&self, request: pb::ListEventsRequest) -> Result<pb::ListEventsResponse, Error> {
        let pb::ListEventsRequest { source, id, limit, before } = request;
        let given = |text: String| (!text.is_empty()).then_some(text);
        let (source, id, before) = (given(source), given(id), (before > 0).then_some(before));
        if before.is_some() && source.is_none() {
            return Err(Error::Invalid("before: numbers are of a source, and none is given".to_owned()));
        }
        let query = EventQuery { source, id, before, limit: limited(limit, 100, MOST) };
        let with_data = query.id.is_some();
        let rows = self.store.events(&query).await?;
        Ok(pb::ListEventsResponse { events: rows.into_iter().map(|row| event(row, with_data)).collect() })
    }
}

/// What is to be recorded, or what is wrong with it, beginning with the field.
fn checked(event: pb::NewEvent) -> Result<NewEvent, String> {
    let pb::NewEvent { id, r#type: kind, subject, data } = event;
    if id.is_empty() {
        return Err("id: expected one".to_owned());
    }
    for (name, text) in [("id", &id), ("type", &kind), ("subject", &subject)] {
        if text.len() > MAX_NAME {
            return Err(format!("{name}: {} bytes; at most {MAX_NAME}", text.len()));
        }
        if text.contains('\0') {
            return Err(format!("{name}: holds a character zero, which cannot be kept"));
        }
    }
    if data.len() > MAX_DATA {
        return Err(format!("data: {} bytes; at most {MAX_DATA}: put it elsewhere and say where it is", data.len()));
    }
    let value = if data.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&data).map_err(|it| format!("data: is no JSON: {it}"))?
    };
    if convert::depth(&value) > MAX_DEPTH {
        return Err(format!("data: nested more than {MAX_DEPTH} deep"));
    }
    // Written out again: it may be longer then, by its escapes.
    let bytes = i32::try_from(value.to_string().len()).unwrap_or(i32::MAX);
    Ok(NewEvent { id, kind, subject, data: value, bytes })
}

fn event(row: EventRow, with_data: bool) -> pb::Event {
    let EventRow { event, uses, pending } = row;
    pb::Event {
        source: event.source,
        id: event.id,
        r#type: event.kind,
        subject: event.subject,
        data: if with_data { event.data.to_string() } else { String::new() },
        seq: event.seq,
        at: Some(convert::timestamp(event.at)),
        bytes: u32::try_from(event.bytes).unwrap_or(u32::MAX),
        uses: uses.into_iter().map(of_use).collect(),
        pending: pending.into_iter().map(of_pending).collect(),
    }
}

fn of_use(it: Use) -> pb::EventUse {
    let Use { dag, binding, trigger, group } = it;
    let state = match group.state {
        GroupState::Open => pb::EventGroupState::EventGroupOpen,
        GroupState::Sealed => pb::EventGroupState::EventGroupSealed,
        GroupState::Run => pb::EventGroupState::EventGroupRun,
        GroupState::Refused => pb::EventGroupState::EventGroupRefused,
        GroupState::Left => pb::EventGroupState::EventGroupLeft,
    };
    pb::EventUse {
        r#ref: Some(pb::DagRef { dag, binding }),
        trigger,
        state: state.into(),
        key: group.key,
        events: u32::try_from(group.events).unwrap_or_default(),
        due_at: group.due_at.map(convert::timestamp),
        run: group.run.map_or(0, |run| run.0),
        reason: group.reason.unwrap_or_default(),
    }
}

fn of_pending(it: Pending) -> pb::EventPending {
    let Pending { dag, binding, trigger, paused } = it;
    pb::EventPending { r#ref: Some(pb::DagRef { dag, binding }), trigger, paused }
}
