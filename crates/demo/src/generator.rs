//! The stream: which kind of mail comes next, when, and what it looks like.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    kinds::Kind,
    mail::{Label, Mail},
    world::World,
};

/// The source of all chance here: an algorithm by name, so that a seed means the same stream in every version.
pub(crate) type Random = Xoshiro256PlusPlus;

/// What a stream is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same seed gives the same stream.
    pub seed: u64,
    /// Event time of the first mail, ms since 1970.
    pub start: i64,
    /// Mean distance of two mails in event time, ms.
    pub step: i64,
    /// One of the spammers' machines is replaced after this many mails; 0 is never.
    pub drift: u64,
    /// The first mail's number: ids hold seed and number, so that a stream can be continued.
    pub first: u64,
}

impl Settings {
    /// A stream that starts at `start` (ms since 1970) and takes 30 s of event time per mail.
    pub fn new(seed: u64, start: i64) -> Self {
        Self { seed, start, step: 30_000, drift: 200, first: 0 }
    }
}

/// A mail and the truth about it.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// As it is published: its label is `Unknown`.
    pub mail: Mail,
    /// What it is.
    pub truth: Label,
    /// How it was made.
    pub kind: Kind,
}

impl Labelled {
    /// The mail as somebody reports it who knows better, or is `wrong`.
    pub fn reported(self, wrong: bool) -> Mail {
        let Self { mut mail, truth, .. } = self;
        mail.label = match truth {
            truth if !wrong => truth,
            Label::Ham => Label::Spam,
            _ => Label::Ham,
        };
        mail
    }
}

/// An endless stream of made-up mail.
#[derive(Clone, Debug)]
pub struct Generator {
    settings: Settings,
    random: Random,
    world: World,
    time: i64,
    number: u64,
}

impl Generator {
    /// A stream from its beginning.
    pub fn new(settings: Settings) -> Self {
        let mut random = Random::seed_from_u64(settings.seed);
        let world = World::new(&mut random);
        // The world is the seed's; a stream that is continued must not repeat the draws of its first part.
        let random = Random::seed_from_u64(settings.seed ^ settings.first.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { time: settings.start, number: settings.first, settings, random, world }
    }
}

impl Iterator for Generator {
    type Item = Labelled;

    fn next(&mut self) -> Option<Labelled> {
        if self.settings.drift > 0 && self.number % self.settings.drift == self.settings.drift - 1 {
            self.world.drift(&mut self.random);
        }
        self.time += self.random.random_range(0..=2 * self.settings.step);
        let kind = Kind::random(&mut self.random);
        let org = self.random.random_range(0..self.world.orgs.len());
        let mut mail = kind.mail(&mut self.random, &self.world, &self.world.orgs[org]);
        mail.uid = format!("demo-{:x}-{:08}", self.settings.seed, self.number);
        mail.received_at = self.time;
        self.number += 1;
        Some(Labelled { mail, truth: kind.truth(), kind })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use millrace_schema::{Schema, Validator};

    use super::*;

    #[test]
    fn every_mail_fits_the_schema_and_a_seed_repeats() {
        let schema = Schema::parse(crate::SCHEMA).unwrap();
        let validator = Validator::compile(&schema);
        let stream = || Generator::new(Settings::new(7, 1_767_225_600_000)).take(2_000);
        let mut ids = HashSet::new();
        for (mail, again) in stream().zip(stream()) {
            let (mut datum, mut second) = (Vec::new(), Vec::new());
            mail.mail.encode(&mut datum);
            again.mail.encode(&mut second);
            validator.validate(&datum).unwrap();
            assert_eq!(datum, second);
            assert_eq!(mail.mail.label, Label::Unknown);
            assert!(ids.insert(mail.mail.uid));
        }
    }

    #[test]
    fn a_stream_goes_on_where_it_was_left_with_other_ids() {
        let settings = Settings::new(7, 0);
        let first: HashSet<String> =
            Generator::new(settings.clone()).take(100).map(|labelled| labelled.mail.uid).collect();
        let second = Generator::new(Settings { first: 100, ..settings });
        assert!(second.take(100).all(|labelled| !first.contains(&labelled.mail.uid)));
    }

    #[test]
    fn every_kind_comes_and_most_mail_is_wanted() {
        let stream: Vec<Labelled> = Generator::new(Settings::new(1, 0)).take(5_000).collect();
        for kind in Kind::ALL {
            assert!(stream.iter().any(|labelled| labelled.kind == kind), "{kind:?}");
        }
        let ham = stream.iter().filter(|labelled| labelled.truth == Label::Ham).count();
        assert!((3_000..4_500).contains(&ham), "{ham}");
    }
}
