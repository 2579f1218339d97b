//! What runs, tasks and slots can be, as numbers that the database keeps.

use crate::rule::Decision;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $state:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about])* $state,)*
        }

        impl $name {
            /// As the database has it.
            pub const fn number(self) -> i16 {
                match self {
                    $(Self::$state => $number,)*
                }
            }

            /// In metrics and for people.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$state => $text,)*
                }
            }

            /// From the database.
            pub fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$state),)*
                    _ => None,
                }
            }
        }
    };
}

states! {
    /// What a task is, or one instance of a mapped task. From 10 on it is final.
    TaskState {
        /// It waits for other tasks.
        Waiting = 0 "waiting",
        /// It can be launched, from its due time on.
        Ready = 1 "ready",
        /// It has a live attempt.
        Active = 2 "active",
        /// It has instances that are not done.
        Mapped = 3 "mapped",
        /// It has succeeded.
        Succeeded = 10 "succeeded",
        /// It has failed, and is not tried again.
        Failed = 11 "failed",
        /// It was not meant to run.
        Skipped = 12 "skipped",
        /// It could not run, because of a failure before it.
        UpstreamFailed = 13 "upstream_failed",
        /// It was told to end.
        Cancelled = 14 "cancelled",
    }
}

states! {
    /// What a run is. From 10 on it has ended.
    RunState {
        /// It waits for room.
        Queued = 0 "queued",
        /// Its tasks are running, or can.
        Running = 1 "running",
        /// It has succeeded: none of its last tasks has failed.
        Succeeded = 10 "succeeded",
        /// It has failed.
        Failed = 11 "failed",
        /// It was told to end.
        Cancelled = 14 "cancelled",
    }
}

states! {
    /// How a run came to be.
    RunKind {
        /// By its schedule.
        Scheduled = 0 "scheduled",
        /// By hand.
        Manual = 1 "manual",
        /// By a backfill.
        Backfill = 2 "backfill",
        /// By an event.
        Event = 3 "event",
    }
}

states! {
    /// Who goes first: everything live before anything in the background.
    Class {
        /// Somebody waits for it.
        Live = 0 "live",
        /// It takes what is left.
        Background = 1 "background",
    }
}

states! {
    /// What became of a moment of a schedule.
    SlotState {
        /// A run of its own, on time.
        Fired = 1 "fired",
        /// A run of its own, although it was missed.
        CaughtUp = 2 "caught_up",
        /// It was missed, and a later one's run does its work.
        Coalesced = 3 "coalesced",
        /// It was missed, and has no run.
        Skipped = 4 "skipped",
        /// It has no run, because of another run.
        Suppressed = 5 "suppressed",
        /// It was not due: clocks leave its time of day out.
        DstGap = 6 "dst_gap",
        /// It was not due: clocks show its time of day twice.
        DstFold = 7 "dst_fold",
    }
}

states! {
    /// What events that go together are. From 10 on nothing joins them.
    GroupState {
        /// They wait for more, or for their time.
        Open = 0 "open",
        /// They wait for nothing: their run is made at the next look.
        Sealed = 1 "sealed",
        /// They have made a run.
        Run = 10 "run",
        /// They could make none.
        Refused = 11 "refused",
        /// Their trigger was removed before.
        Left = 12 "left",
    }
}

impl GroupState {
    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        self.number() >= 10
    }
}

impl TaskState {
    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        self.number() >= 10
    }

    /// What a task becomes by its rule; none while it goes on waiting.
    pub fn decided(decision: Decision) -> Option<Self> {
        match decision {
            Decision::Wait => None,
            Decision::Run => Some(Self::Ready),
            Decision::Skip => Some(Self::Skipped),
            Decision::Fail => Some(Self::UpstreamFailed),
        }
    }

    /// Whether those that come after count it as a failure.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamFailed | Self::Cancelled)
    }
}

impl RunState {
    /// Whether it has ended.
    pub const fn is_final(self) -> bool {
        self.number() >= 10
    }

    /// What a run has come to, by what its last tasks have: those that nothing waits for.
    pub fn of(last: impl IntoIterator<Item = TaskState>) -> Self {
        if last.into_iter().any(TaskState::is_failure) { Self::Failed } else { Self::Succeeded }
    }
}
