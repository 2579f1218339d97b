use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{MAX_GROUP, Rule};

/// An event that a trigger takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub seq: i64,
    /// When it was recorded; never before that of a lower number.
    pub at: Timestamp,
    /// What it goes with.
    pub key: String,
    /// Of its data.
    pub bytes: u64,
}

/// Events that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number, where it was there before.
    pub id: Option<i64>,
    /// What its events have in common.
    pub key: String,
    /// When the first of them was recorded.
    pub first_at: Timestamp,
    /// When the last of them was.
    pub last_at: Timestamp,
    /// How many there are.
    pub events: usize,
    /// Of their data.
    pub bytes: u64,
    /// The numbers of those that have joined it now.
    pub joined: Vec<i64>,
}

/// What has become of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Those that are complete, in the order in which they came to be so.
    pub complete: Vec<Group>,
    /// Those that wait, also where nothing has joined them.
    pub open: Vec<Group>,
}

/// Adds events to groups, in the order of their numbers. `open` holds the groups of these events' keys and those that are
/// due, of each key one; others need not be there. `horizon`: every event recorded before it is among these, or was in an
/// earlier call.
pub fn fold(rule: &Rule, open: Vec<Group>, events: Vec<Taken>, horizon: Option<Timestamp>) -> Folded {
    let mut groups: BTreeMap<String, Group> = open.into_iter().map(|group| (group.key.clone(), group)).collect();
    let mut complete = Vec::new();
    for event in events {
        if groups.get(&event.key).is_some_and(|group| !group.takes(&event, rule)) {
            complete.extend(groups.remove(&event.key));
        }
        let group = groups.entry(event.key.clone()).or_insert_with(|| Group::new(&event));
        group.join(&event);
        if group.events >= rule.count {
            complete.extend(groups.remove(&event.key));
        }
    }
    let is_due = |group: &Group| rule.due(group).zip(horizon).is_some_and(|(due, horizon)| due <= horizon);
    let (mut due, open): (Vec<Group>, Vec<Group>) = groups.into_values().partition(is_due);
    due.sort_by_key(|group| rule.due(group));
    complete.extend(due);
    Folded { complete, open }
}

impl Group {
    fn new(event: &Taken) -> Self {
        let (first_at, last_at) = (event.at, event.at);
        Self { id: None, key: event.key.clone(), first_at, last_at, events: 0, bytes: 0, joined: Vec::new() }
    }

    /// Whether an event comes before it is due, and there is room for it. That it is full is seen when it is: here only
    /// where its rule has become another.
    fn takes(&self, event: &Taken, rule: &Rule) -> bool {
        rule.due(self).is_none_or(|due| event.at < due)
            && self.events < rule.count
            && self.bytes.saturating_add(event.bytes) <= MAX_GROUP
    }

    fn join(&mut self, event: &Taken) {
        self.last_at = event.at;
        self.events += 1;
        self.bytes = self.bytes.saturating_add(event.bytes);
        self.joined.push(event.seq);
    }
}
