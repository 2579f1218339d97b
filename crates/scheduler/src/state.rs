//! What runs and tasks can be, as numbers that the database keeps.

use crate::rule::Decision;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $state:ident = $number:literal,)* }) => {
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
        Waiting = 0,
        /// It can be launched, from its due time on.
        Ready = 1,
        /// It has a live attempt.
        Active = 2,
        /// It has instances that are not done.
        Mapped = 3,
        /// It has succeeded.
        Succeeded = 10,
        /// It has failed, and is not tried again.
        Failed = 11,
        /// It was not meant to run.
        Skipped = 12,
        /// It could not run, because of a failure before it.
        UpstreamFailed = 13,
        /// It was told to end.
        Cancelled = 14,
    }
}

states! {
    /// What a run is. From 10 on it has ended.
    RunState {
        /// It waits for room.
        Queued = 0,
        /// Its tasks are running, or can.
        Running = 1,
        /// It has succeeded: none of its last tasks has failed.
        Succeeded = 10,
        /// It has failed.
        Failed = 11,
        /// It was told to end.
        Cancelled = 14,
    }
}

states! {
    /// How a run came to be.
    RunKind {
        /// By its schedule.
        Scheduled = 0,
        /// By hand.
        Manual = 1,
        /// By a backfill.
        Backfill = 2,
        /// By an event.
        Event = 3,
    }
}

states! {
    /// Who goes first: everything live before anything in the background.
    Class {
        /// Somebody waits for it.
        Live = 0,
        /// It takes what is left.
        Background = 1,
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

impl RunKind {
    /// In a run's key and in templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
            Self::Event => "event",
        }
    }
}

impl RunState {
    /// What a run has come to, by what its last tasks have: those that nothing waits for.
    pub fn of(last: impl IntoIterator<Item = TaskState>) -> Self {
        if last.into_iter().any(TaskState::is_failure) { Self::Failed } else { Self::Succeeded }
    }
}
