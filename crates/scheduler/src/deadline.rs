//! Deadlines: what is told of them, and when they are looked at next. Pure: what is known comes in, what is to be said comes
//! out.
//!
//! ```text
//!            likely to be missed                     due, and not done
//! nothing ----------------------> at risk -------------------------------> missed
//!    ^         likely again to be in time  |                                 |
//!    +-------------------------------------+---- done, cancelled ------------+----> over
//! ```

use jiff::{SignedDuration, Timestamp};

use crate::forecast::Forecast;

/// Between two looks at one that may be at risk, at least and at most.
const SOON: SignedDuration = SignedDuration::from_secs(1);
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// One that may be at risk is looked at so often until it is due.
const LOOKS: i32 = 20;
/// A risk has passed when it is less than this part of what was too much: else it would come and go.
const PASSED: f64 = 0.5;

/// What was told of a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that all is well again.
    #[default]
    Nothing,
    /// That it will probably be missed.
    AtRisk,
    /// That it is missed.
    Missed,
}

/// A deadline, as it is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watch {
    /// By when; none until what it is counted from has begun.
    pub due: Option<Timestamp>,
    /// The probability of a miss from which on it is told.
    pub predict: Option<f64>,
    /// What was told.
    pub told: Told,
}

/// What has become of what must be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// It is not done.
    Open,
    /// It was done then.
    Done(Timestamp),
    /// It has failed, and is not done unless somebody clears it.
    Failed,
    /// Nobody waits for it any more.
    Dropped,
}

/// Something to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Say {
    /// It will probably be missed.
    AtRisk(Forecast),
    /// It will be missed: what must be done has failed.
    Failed,
    /// It is missed; what must be done was done then, or is not.
    Missed(Option<Timestamp>),
    /// It will probably be met after all.
    Recovered,
    /// It was done, or nobody waits for it any more.
    Over(Option<Timestamp>),
}

/// When it is looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Then, or when there is news of its run.
    At(Timestamp),
    /// When there is news of its run.
    News,
    /// Never.
    Over,
}

/// What comes of a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What was told, afterwards.
    pub told: Told,
    /// What is to be said, one after the other.
    pub say: Vec<Say>,
    /// When it is looked at next.
    pub next: Next,
}

impl Told {
    /// As the database has it.
    pub const fn number(self) -> i16 {
        match self {
            Self::Nothing => 0,
            Self::AtRisk => 1,
            Self::Missed => 2,
        }
    }

    /// From the database.
    pub const fn from_number(number: i16) -> Self {
        match number {
            1 => Self::AtRisk,
            2 => Self::Missed,
            _ => Self::Nothing,
        }
    }
}

impl Watch {
    /// Looks at a deadline. The forecast is asked for where it matters; none: too little is known of the past.
    pub fn look(
        self,
        target: Target,
        now: Timestamp,
        forecast: impl FnOnce(Timestamp) -> Option<Forecast>,
    ) -> Decision {
        match target {
            Target::Dropped => self.over(None),
            Target::Done(at) => self.over(Some(at)),
            Target::Open | Target::Failed => match self.due {
                None => Decision { told: self.told, say: Vec::new(), next: Next::News },
                Some(due) if due <= now => self.missed(),
                Some(due) if target == Target::Failed => self.failed(due),
                Some(due) => self.open(due, now, || forecast(due)),
            },
        }
    }

    /// What was late and nobody was told of is told all the same.
    fn over(self, done: Option<Timestamp>) -> Decision {
        let is_late = matches!((self.due, done), (Some(due), Some(at)) if at > due);
        let mut say = Vec::new();
        if is_late && self.told != Told::Missed {
            say.push(Say::Missed(done));
        }
        if is_late || self.told != Told::Nothing {
            say.push(Say::Over(done));
        }
        Decision { told: Told::Nothing, say, next: Next::Over }
    }

    fn missed(self) -> Decision {
        let say = if self.told == Told::Missed { Vec::new() } else { vec![Say::Missed(None)] };
        Decision { told: Told::Missed, say, next: Next::News }
    }

    /// Who wants to know before wants to know now.
    fn failed(self, due: Timestamp) -> Decision {
        let say = if self.predict.is_some() && self.told == Told::Nothing { vec![Say::Failed] } else { Vec::new() };
        let told = if self.predict.is_some() { Told::AtRisk } else { self.told };
        Decision { told, say, next: Next::At(due) }
    }

    fn open(self, due: Timestamp, now: Timestamp, forecast: impl FnOnce() -> Option<Forecast>) -> Decision {
        let Some(bound) = self.predict else {
            return Decision { told: self.told, say: Vec::new(), next: Next::At(due) };
        };
        let next = now + (due.duration_since(now) / LOOKS).clamp(SOON, LATE);
        let (told, say) = match (self.told, forecast()) {
            (Told::Nothing, Some(forecast)) if forecast.miss >= bound => (Told::AtRisk, vec![Say::AtRisk(forecast)]),
            (Told::AtRisk, Some(forecast)) if forecast.miss < bound * PASSED => (Told::Nothing, vec![Say::Recovered]),
            // It was missed, and has more time now: it was cleared.
            (Told::Missed, _) => (Told::Nothing, vec![Say::Recovered]),
            (told, _) => (told, Vec::new()),
        };
        Decision { told, say, next: Next::At(next.min(due)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn watch(predict: Option<f64>, told: Told) -> Watch {
        Watch { due: Some(at(1_000)), predict, told }
    }

    fn miss(miss: f64) -> Forecast {
        Forecast { miss, cause: Some(2), median: 1_000.0 }
    }

    #[test]
    fn what_is_done_in_time_is_never_spoken_of() {
        let done = watch(Some(0.5), Told::Nothing).look(Target::Done(at(999)), at(2_000), |_| panic!("no forecast"));
        assert_eq!(done, Decision { told: Told::Nothing, say: vec![], next: Next::Over });
        let open = watch(None, Told::Nothing).look(Target::Open, at(10), |_| panic!("nobody asked for one"));
        assert_eq!(open.next, Next::At(at(1_000)), "looked at when it is due");
        let begun = Watch { due: None, predict: None, told: Told::Nothing }.look(Target::Open, at(5_000), |_| None);
        assert_eq!((begun.say, begun.next), (vec![], Next::News), "it is not counted yet");
    }

    #[test]
    fn a_miss_is_told_once_and_its_end_as_well() {
        let missed = watch(None, Told::Nothing).look(Target::Open, at(1_000), |_| None);
        assert_eq!(missed, Decision { told: Told::Missed, say: vec![Say::Missed(None)], next: Next::News });
        assert_eq!(watch(None, Told::Missed).look(Target::Open, at(1_001), |_| None).say, []);
        let done = watch(None, Told::Missed).look(Target::Done(at(1_500)), at(1_500), |_| None);
        assert_eq!((done.say, done.next), (vec![Say::Over(Some(at(1_500)))], Next::Over));
        let unseen = watch(None, Told::Nothing).look(Target::Done(at(1_001)), at(2_000), |_| None);
        assert_eq!(unseen.say, [Say::Missed(Some(at(1_001))), Say::Over(Some(at(1_001)))], "nobody looked meanwhile");
        let dropped = watch(None, Told::AtRisk).look(Target::Dropped, at(500), |_| None);
        assert_eq!((dropped.say, dropped.next), (vec![Say::Over(None)], Next::Over));
    }

    #[test]
    fn a_risk_is_told_before_the_miss_and_taken_back_when_it_has_clearly_passed() {
        let look = |told, chance| watch(Some(0.4), told).look(Target::Open, at(100), |_| Some(miss(chance)));
        assert_eq!(look(Told::Nothing, 0.39).say, []);
        assert_eq!(look(Told::Nothing, 0.4).say, [Say::AtRisk(miss(0.4))]);
        assert_eq!((look(Told::AtRisk, 0.9).say, look(Told::AtRisk, 0.3).say), (vec![], vec![]), "it is told already");
        assert_eq!(look(Told::AtRisk, 0.19).say, [Say::Recovered]);
        assert_eq!(look(Told::Nothing, 0.0).next, Next::At(at(145)), "a twentieth of what is left");
        let unknown = watch(Some(0.4), Told::Nothing).look(Target::Open, at(999), |_| None);
        assert_eq!((unknown.say, unknown.next), (vec![], Next::At(at(1_000))));
    }

    #[test]
    fn a_failure_is_told_at_once_to_those_who_want_to_know_before() {
        let early = watch(Some(0.4), Told::Nothing).look(Target::Failed, at(100), |_| None);
        assert_eq!((early.told, early.say, early.next), (Told::AtRisk, vec![Say::Failed], Next::At(at(1_000))));
        let due = watch(None, Told::Nothing).look(Target::Failed, at(100), |_| None);
        assert_eq!((due.say, due.next), (vec![], Next::At(at(1_000))));
        assert_eq!(watch(None, Told::Nothing).look(Target::Failed, at(1_000), |_| None).say, [Say::Missed(None)]);
    }
}
