//! What groups are by definition, looking at the whole stream at once; and that [`fold`] makes the same ones, however the
//! stream is divided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{End, Folded, Group, MAX_GROUP, Rule, Taken, fold};

/// A group: its key and the numbers of its events.
type Numbers = (String, Vec<i64>);

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// Whether an event begins a group of its own after these, which are one so far.
fn begins(rule: &Rule, group: &[&Taken], event: &Taken) -> bool {
    let (first, last, now) = (millis(group[0].at), millis(group[group.len() - 1].at), millis(event.at));
    let bytes: u64 = group.iter().map(|it| it.bytes).sum();
    let over = match rule.end {
        End::Never => false,
        End::After(max) => now - first >= max.as_millis() as i64,
        End::Window(length) => now.div_euclid(length.as_millis() as i64) != first.div_euclid(length.as_millis() as i64),
        End::Quiet { pause, max } => now - last >= pause.as_millis() as i64 || now - first >= max.as_millis() as i64,
    };
    over || group.len() == rule.count || bytes + event.bytes > MAX_GROUP
}

/// All groups of a stream: those that are complete once it is `horizon`, and those that wait.
fn model(rule: &Rule, events: &[Taken], horizon: i64) -> (BTreeSet<Numbers>, BTreeSet<Numbers>) {
    let mut keys: BTreeMap<&str, Vec<Vec<&Taken>>> = BTreeMap::new();
    for event in events {
        let groups = keys.entry(&event.key).or_default();
        match groups.last_mut() {
            Some(group) if !begins(rule, group, event) => group.push(event),
            _ => groups.push(vec![event]),
        }
    }
    let numbers = |key: &str, group: &[&Taken]| (key.to_owned(), group.iter().map(|it| it.seq).collect());
    let (mut complete, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (key, groups) in keys {
        let many = groups.len();
        for (place, group) in groups.iter().enumerate() {
            // One more event of its key, of no size, at that time would begin another.
            let probe = Taken { seq: 0, at: at(horizon), key: key.to_owned(), bytes: 0 };
            let ended = place + 1 < many || begins(rule, group, &probe);
            if ended { &mut complete } else { &mut open }.insert(numbers(key, group));
        }
    }
    (complete, open)
}

/// Groups as a database keeps them, in the place of one.
#[derive(Default)]
struct Kept {
    open: BTreeMap<String, (Group, Vec<i64>)>,
    complete: BTreeSet<Numbers>,
    next: i64,
}

impl Kept {
    /// One transaction.
    fn look(&mut self, rule: &Rule, events: &[Taken], horizon: Timestamp) {
        let keys: BTreeSet<&String> = events.iter().map(|event| &event.key).collect();
        let concerned = |(group, _): &&(Group, Vec<i64>)| {
            keys.contains(&group.key) || rule.due(group).is_some_and(|due| due <= horizon)
        };
        let open = self.open.values().filter(concerned).map(|(group, _)| group.clone()).collect();
        let Folded { complete, open } = fold(rule, open, events.to_vec(), Some(horizon));
        for group in complete {
            let (key, numbers) = self.numbers(&group);
            assert!(self.complete.insert((key, numbers)), "a group is complete once");
        }
        for mut group in open {
            let (key, numbers) = self.numbers(&group);
            if group.id.is_none() {
                self.next += 1;
                group.id = Some(self.next);
            }
            group.joined.clear();
            self.open.insert(key, (group, numbers));
        }
    }

    fn numbers(&mut self, group: &Group) -> Numbers {
        let mut numbers = match group.id {
            Some(_) => self.open.remove(&group.key).unwrap().1,
            None => Vec::new(),
        };
        numbers.extend(&group.joined);
        assert_eq!(numbers.len(), group.events);
        (group.key.clone(), numbers)
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    let span = |longest: i64| (1..longest).prop_map(SignedDuration::from_millis);
    let end = prop_oneof![
        Just(End::Never),
        span(60).prop_map(End::After),
        span(60).prop_map(End::Window),
        (span(20), span(60)).prop_map(|(pause, max)| End::Quiet { pause, max }),
    ];
    (prop_oneof![Just(1_000_usize), 1..6_usize], end).prop_map(|(count, end)| Rule { count, end })
}

/// Events with the time that passes before each, a key and a size; now and then a large one.
fn streams() -> impl Strategy<Value = Vec<Taken>> {
    let bytes = prop_oneof![9 => 0..100_u64, 1 => Just(MAX_GROUP / 2)];
    prop::collection::vec((0..15_i64, 0..3_u8, bytes), 0..60).prop_map(|steps| {
        let mut now = -200;
        let event = |(seq, (pause, key, bytes)): (usize, (i64, u8, u64))| {
            now += pause;
            Taken { seq: seq as i64 + 1, at: at(now), key: format!("k{key}"), bytes }
        };
        steps.into_iter().enumerate().map(event).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_division_of_a_stream_makes_the_runs_that_the_model_says(
        rule in rules(),
        events in streams(),
        cuts in prop::collection::vec((1..9_usize, 0..30_i64), 1..80),
        rest in 0..80_i64,
    ) {
        let mut kept = Kept::default();
        let (mut from, mut now) = (0, -1_000);
        for (many, later) in cuts {
            let to = (from + many).min(events.len());
            // As late as it may be: what comes next is not before it.
            let last = events[..to].last().map_or(now, |it| millis(it.at));
            let latest = events.get(to).map_or(i64::MAX, |it| millis(it.at));
            now = (last.max(now) + later).min(latest).max(now);
            kept.look(&rule, &events[from..to], at(now));
            from = to;
            let (complete, open) = model(&rule, &events[..to], now);
            let waiting: BTreeSet<Numbers> =
                kept.open.iter().map(|(key, (_, numbers))| (key.clone(), numbers.clone())).collect();
            prop_assert_eq!((&kept.complete, &waiting), (&complete, &open));
        }
        kept.look(&rule, &events[from..], at(now.max(events.last().map_or(now, |it| millis(it.at))) + rest));
        let mut seen: Vec<i64> = kept.complete.iter().flat_map(|(_, numbers)| numbers.clone()).collect();
        seen.extend(kept.open.values().flat_map(|(_, numbers)| numbers.clone()));
        seen.sort_unstable();
        prop_assert_eq!(seen, (1..=events.len() as i64).collect::<Vec<_>>(), "each event is in one group");
    }
}
