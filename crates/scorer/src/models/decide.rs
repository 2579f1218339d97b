//! What to do when the registry says who is the champion: pure decisions.

use serde::{Deserialize, Serialize};

/// A model's name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ref {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Ref {
    /// Whether both can be parts of a path: what comes over the network names no folder of its own choice.
    pub(crate) fn is_sound(&self) -> bool {
        let is_part = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && !text.starts_with('.')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        is_part(&self.name) && is_part(&self.version)
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Who scores a pipeline, by which promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Champion {
    /// None before the first one is promoted.
    pub(crate) model: Option<Ref>,
    pub(crate) revision: u64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as it is to be.
    Stay,
    /// Nobody is the champion yet.
    Wait,
    /// What was said is older than what is in use: a late answer, or a registry that has lost what it knew.
    Older,
    /// The same bundle under a later revision: a shadow was promoted, or the champion once more.
    Renew,
    /// Another bundle.
    Load(Ref),
    /// It must not be used, whatever is in it.
    Refuse(String),
}

/// Compares what is in use with what was said. `expected` is the name that the pipeline's document has.
pub(crate) fn decide(in_use: Option<(&Ref, u64)>, said: &Champion, expected: &str) -> Step {
    if in_use.is_some_and(|(_, revision)| said.revision < revision) {
        return Step::Older;
    }
    let Some(model) = &said.model else { return Step::Wait };
    match in_use {
        Some((used, revision)) if used == model && revision == said.revision => Step::Stay,
        Some((used, _)) if used == model => Step::Renew,
        _ if model.name != expected => Step::Refuse(format!(
            "the champion is a model `{}`, and the pipeline's document wants `{expected}`",
            model.name
        )),
        _ if !model.is_sound() => Step::Refuse(format!("{:?} is no version", model.version)),
        _ => Step::Load(model.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: &str) -> Ref {
        Ref { name: "mail".to_owned(), version: version.to_owned() }
    }

    fn said(version: &str, revision: u64) -> Champion {
        Champion { model: Some(model(version)), revision }
    }

    #[test]
    fn another_champion_is_loaded_and_the_same_one_is_not() {
        let a = model("a");
        assert_eq!(decide(None, &said("a", 3), "mail"), Step::Load(model("a")));
        assert_eq!(decide(Some((&a, 3)), &said("a", 3), "mail"), Step::Stay);
        assert_eq!(decide(Some((&a, 3)), &said("a", 4), "mail"), Step::Renew);
        assert_eq!(decide(Some((&a, 3)), &said("b", 4), "mail"), Step::Load(model("b")));
        // A rollback is a later revision.
        assert_eq!(decide(Some((&model("b"), 4)), &said("a", 5), "mail"), Step::Load(model("a")));
    }

    #[test]
    fn what_is_older_or_nobody_changes_nothing() {
        let a = model("a");
        assert_eq!(decide(Some((&a, 3)), &said("b", 2), "mail"), Step::Older);
        let nobody = Champion { model: None, revision: 0 };
        assert_eq!(decide(None, &nobody, "mail"), Step::Wait);
        assert_eq!(decide(Some((&a, 3)), &nobody, "mail"), Step::Older);
        // Only a shadow was promoted.
        assert_eq!(decide(None, &Champion { model: None, revision: 1 }, "mail"), Step::Wait);
    }

    #[test]
    fn the_documents_name_must_be_the_models_and_no_name_is_a_path() {
        assert!(matches!(decide(None, &said("a", 1), "fraud"), Step::Refuse(why) if why.contains("`fraud`")));
        for bad in ["", "..", ".x", "a/b", "a\\b", "ü"] {
            assert!(matches!(decide(None, &said(bad, 1), "mail"), Step::Refuse(_)), "{bad}");
        }
    }
}
