//! What a promotion does: pure decisions over a pipeline's stages and its history.

use crate::{Error, Result};

/// A model's name and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ref {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// What a version is to a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Candidate,
    Shadow,
    Champion,
    Retired,
}

const STAGES: [(Stage, &str); 4] = [
    (Stage::Candidate, "candidate"),
    (Stage::Shadow, "shadow"),
    (Stage::Champion, "champion"),
    (Stage::Retired, "retired"),
];

impl Stage {
    /// As Postgres has it.
    pub(crate) fn as_str(self) -> &'static str {
        STAGES[self as usize].1
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        STAGES.iter().find(|(_, name)| *name == text).map(|(stage, _)| *stage)
    }
}

/// The stages of a pipeline's versions.
pub(crate) type Stages = Vec<(Ref, Stage)>;

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) model: Ref,
    pub(crate) from: Option<Stage>,
    pub(crate) to: Stage,
    /// The champion that is retired by it.
    pub(crate) before: Option<Ref>,
}

/// One that became champion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crowned {
    pub(crate) model: Ref,
    /// By taking the one before it back.
    pub(crate) is_rollback: bool,
}

pub(crate) fn champion(stages: &Stages) -> Option<&Ref> {
    stages.iter().find(|(_, stage)| *stage == Stage::Champion).map(|(model, _)| model)
}

/// Gives a version another stage. A pipeline that has a champion keeps one.
pub(crate) fn promote(stages: &Stages, model: Ref, to: Stage) -> Result<Step> {
    let from = stages.iter().find(|(known, _)| *known == model).map(|(_, stage)| *stage);
    if from == Some(to) {
        return Err(Error::Unmet(format!("model {model} is {} already", to.as_str())));
    }
    if from == Some(Stage::Champion) {
        let problem = "is the champion: promote another one, or roll back, and it is retired";
        return Err(Error::Unmet(format!("model {model} {problem}")));
    }
    let before = if to == Stage::Champion { champion(stages).cloned() } else { None };
    Ok(Step { model, from, to, before })
}

/// Takes back what made the present champion one. Another time it goes one further back, and not forth again.
pub(crate) fn roll_back(stages: &Stages, history: &[Crowned]) -> Result<Step> {
    let mut stack: Vec<&Ref> = Vec::new();
    for crowned in history {
        if crowned.is_rollback {
            stack.pop();
        } else {
            stack.push(&crowned.model);
        }
    }
    let [.., before, _] = stack.as_slice() else {
        return Err(Error::Unmet("there is no champion before the present one".to_owned()));
    };
    promote(stages, (*before).clone(), Stage::Champion)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: &str) -> Ref {
        Ref { name: "m".to_owned(), version: version.to_owned() }
    }

    /// A pipeline, as the database keeps it.
    #[derive(Default)]
    struct Pipeline {
        stages: Stages,
        history: Vec<Crowned>,
    }

    impl Pipeline {
        fn take(&mut self, step: Step, is_rollback: bool) {
            if let Some(before) = &step.before {
                self.set(before.clone(), Stage::Retired);
            }
            self.set(step.model.clone(), step.to);
            if step.to == Stage::Champion {
                self.history.push(Crowned { model: step.model, is_rollback });
            }
        }

        fn set(&mut self, model: Ref, stage: Stage) {
            self.stages.retain(|(known, _)| *known != model);
            self.stages.push((model, stage));
        }

        fn promote(&mut self, version: &str, to: Stage) {
            self.take(promote(&self.stages, model(version), to).unwrap(), false);
        }

        fn roll_back(&mut self) -> Result<String> {
            let step = roll_back(&self.stages, &self.history)?;
            self.take(step, true);
            Ok(champion(&self.stages).unwrap().version.clone())
        }
    }

    #[test]
    fn there_is_one_champion_and_the_one_before_is_retired() {
        let mut pipeline = Pipeline::default();
        pipeline.promote("a", Stage::Champion);
        pipeline.promote("b", Stage::Shadow);
        let step = promote(&pipeline.stages, model("b"), Stage::Champion).unwrap();
        assert_eq!((step.from, step.before.clone()), (Some(Stage::Shadow), Some(model("a"))));
        pipeline.take(step, false);
        assert_eq!(champion(&pipeline.stages), Some(&model("b")));
        assert!(pipeline.stages.iter().all(|(_, stage)| *stage != Stage::Shadow));
        let refused = |to| promote(&pipeline.stages, model("b"), to).unwrap_err().to_string();
        assert!(refused(Stage::Champion).contains("already"));
        assert!(refused(Stage::Retired).contains("is the champion"));
    }

    #[test]
    fn rollbacks_go_back_and_not_forth_again() {
        let mut pipeline = Pipeline::default();
        assert!(pipeline.roll_back().is_err());
        for version in ["a", "b", "c"] {
            pipeline.promote(version, Stage::Champion);
        }
        assert_eq!(pipeline.roll_back().unwrap(), "b");
        assert_eq!(pipeline.roll_back().unwrap(), "a");
        assert!(pipeline.roll_back().unwrap_err().to_string().contains("no champion before"));
        pipeline.promote("d", Stage::Champion);
        assert_eq!(pipeline.roll_back().unwrap(), "a");
    }
}
