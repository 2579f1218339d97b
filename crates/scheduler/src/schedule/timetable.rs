use jiff::{Timestamp, tz::TimeZone};
use millrace_core::Span;

use super::{Calendar, Every, Moment, Pattern};
use crate::document::ScheduleSpec;

/// When a DAG is due, from its document.
#[derive(Clone, Debug)]
pub struct Timetable {
    when: When,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum When {
    Cron(Box<Calendar>),
    Every(Every),
}

/// What is wrong with a schedule, and in which field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleFault {
    /// `cron`, or none for the schedule as a whole.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

impl Timetable {
    /// Reads a schedule; all faults at once. `now` is for saying that it is never due again.
    pub fn new(spec: &ScheduleSpec, now: Timestamp) -> Result<Self, Vec<ScheduleFault>> {
        let mut faults = Vec::new();
        let mut fault = |field, message: String| faults.push(ScheduleFault { field, message });
        let zone = TimeZone::get(&spec.timezone);
        if zone.is_err() {
            fault(
                Some("timezone"),
                format!("{:?} is no time zone: expected a name such as Europe/Berlin", spec.timezone),
            );
        }
        let zone = zone.unwrap_or(TimeZone::UTC);
        let mut instant = |field, civil: Option<jiff::civil::DateTime>| match civil.map(|it| zone.to_timestamp(it)) {
            Some(Err(error)) => {
                fault(Some(field), error.to_string());
                None
            }
            other => other.and_then(Result::ok),
        };
        let (start, end) = (instant("start", spec.start), instant("end", spec.end));
        if spec.dst.is_some() && spec.every.is_some() {
            fault(Some("dst"), "is for `cron`: a fixed distance knows no clock on the wall".to_owned());
        }
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            fault(Some("end"), "is not after `start`: nothing is ever due".to_owned());
        }
        let pattern = spec.cron.as_ref().map(|text| text.parse::<Pattern>());
        let when = match (pattern, spec.every) {
            (Some(_), Some(_)) => Err((None, "has both `cron` and `every`: one of them".to_owned())),
            (None, None) => Err((None, "has neither `cron` nor `every`".to_owned())),
            (Some(Err(error)), None) => Err((Some("cron"), error.to_string())),
            (Some(Ok(pattern)), None) => {
                let dst = spec.dst.unwrap_or(crate::document::Dst { gap: None, fold: None });
                Ok(When::Cron(Box::new(Calendar::new(pattern, zone.clone(), dst.gap, dst.fold))))
            }
            (None, Some(step)) if step < Span::seconds(1) => Err((Some("every"), "is less than a second".to_owned())),
            (None, Some(step)) => match Every::new(step, start.unwrap_or(Timestamp::UNIX_EPOCH)) {
                Some(every) => Ok(When::Every(every)),
                None => Err((Some("every"), "is too long".to_owned())),
            },
        };
        match when {
            Err((field, message)) => fault(field, message),
            Ok(when) => {
                let timetable = Self { when, start, end };
                if faults.is_empty() && timetable.never_due(now) {
                    let field = if spec.cron.is_some() { Some("cron") } else { None };
                    faults.push(ScheduleFault { field, message: "is never due".to_owned() });
                }
                if faults.is_empty() {
                    return Ok(timetable);
                }
            }
        }
        Err(faults)
    }

    /// When the schedule begins, if it says so.
    pub fn start(&self) -> Option<Timestamp> {
        self.start
    }

    /// The first moment after an instant, whether anything is due or not.
    pub fn moment_after(&self, instant: Timestamp) -> Option<Moment> {
        // The start itself is a moment that may be due.
        let before_start = self.start.and_then(|start| start.checked_sub(jiff::SignedDuration::from_nanos(1)).ok());
        let from = before_start.map_or(instant, |before| before.max(instant));
        let moment = match &self.when {
            When::Cron(calendar) => calendar.moment_after(from)?,
            When::Every(every) => Moment::plain(every.after(from)?),
        };
        self.end.is_none_or(|end| moment.at < end).then_some(moment)
    }

    /// The first due moment after an instant.
    pub fn due_after(&self, instant: Timestamp) -> Option<Moment> {
        Moment::first_due(instant, |instant| self.moment_after(instant))
    }

    /// The last due moment at or before an instant, of the schedule itself: not before its start, and before its end.
    pub fn due_until(&self, instant: Timestamp) -> Option<Timestamp> {
        let after = instant.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(instant);
        let last = self.tick_before(self.end.map_or(after, |end| after.min(end)))?;
        self.start.is_none_or(|start| last >= start).then_some(last)
    }

    /// The moment whose tick comes before that of a due one, whether the schedule had begun by then or not: the beginning
    /// of a data interval.
    pub fn tick_before(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Cron(calendar) => calendar.due_before(instant).map(|moment| moment.at),
            When::Every(every) => every.before(instant),
        }
    }

    fn never_due(&self, now: Timestamp) -> bool {
        // A schedule of the past is in order: it can be backfilled.
        let has_ended = self.start.is_none() && self.end.is_some_and(|end| end <= now);
        !has_ended && self.due_after(self.start.unwrap_or(now).min(now)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn timetable(spec: serde_json::Value) -> Result<Timetable, Vec<String>> {
        let spec: ScheduleSpec = serde_json::from_value(spec).unwrap();
        Timetable::new(&spec, at("2026-11-21T00:00:00Z")).map_err(|faults| {
            faults.into_iter().map(|it| format!("{} {}", it.field.unwrap_or("-"), it.message)).collect()
        })
    }

    #[test]
    fn start_and_end_are_in_the_zone() {
        let spec = json!({"cron": "0 0 * * *", "timezone": "Europe/Berlin", "start": "2026-03-28T00:00:00", "end": "2026-03-31T00:00:00"});
        let table = timetable(spec).unwrap();
        let due = std::iter::successors(table.due_after(at("2020-01-01T00:00:00Z")), |it| table.due_after(it.at));
        let due: Vec<String> = due.map(|it| it.at.to_string()).collect();
        assert_eq!(due, ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
        assert_eq!(table.tick_before(at("2026-03-27T23:00:00Z")), Some(at("2026-03-26T23:00:00Z")));
    }

    #[test]
    fn a_distance_counts_from_the_start() {
        let table = timetable(json!({"every": "7m", "start": "2026-11-21T00:05:00"})).unwrap();
        assert_eq!(table.due_after(at("2026-01-01T00:00:00Z")).unwrap().at, at("2026-11-21T00:05:00Z"));
        assert_eq!(table.due_after(at("2026-11-21T00:05:00Z")).unwrap().at, at("2026-11-21T00:12:00Z"));
        assert_eq!(table.tick_before(at("2026-11-21T00:05:00Z")), Some(at("2026-11-20T23:58:00Z")));
    }

    #[test]
    fn the_last_due_moment_is_between_start_and_end() {
        let spec = json!({"cron": "0 0 * * *", "start": "2026-03-02T00:00:00", "end": "2026-03-04T00:00:00"});
        let table = timetable(spec).unwrap();
        let until = |text| table.due_until(at(text)).map(|it| it.to_string());
        assert_eq!(until("2026-03-01T23:59:59.999Z"), None);
        assert_eq!(until("2026-03-02T00:00:00Z").as_deref(), Some("2026-03-02T00:00:00Z"));
        assert_eq!(until("2026-03-02T23:59:59Z").as_deref(), Some("2026-03-02T00:00:00Z"));
        assert_eq!(until("2030-01-01T00:00:00Z").as_deref(), Some("2026-03-03T00:00:00Z"));
    }

    #[test]
    fn what_is_wrong_is_said_all_at_once() {
        let wrong = [
            (json!({}), vec!["- has neither `cron` nor `every`"]),
            (json!({"cron": "@daily", "every": "1h"}), vec!["- has both `cron` and `every`: one of them"]),
            (json!({"every": "0s"}), vec!["every is less than a second"]),
            (json!({"cron": "0 0 31 2 *"}), vec!["cron is never due"]),
            (
                json!({"cron": "0 0 1 1 *", "start": "2026-03-01T00:00:00", "end": "2026-04-01T00:00:00"}),
                vec!["cron is never due"],
            ),
        ];
        for (spec, expected) in wrong {
            assert_eq!(timetable(spec.clone()).unwrap_err(), expected, "{spec}");
        }
        let faults = timetable(json!({"cron": "61 * * * *", "timezone": "Mars/Olympus"})).unwrap_err();
        assert!(
            faults[0].starts_with("timezone \"Mars/Olympus\" is no time zone") && faults[1].starts_with("cron"),
            "{faults:?}"
        );
    }
}
