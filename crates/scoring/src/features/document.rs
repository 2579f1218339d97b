use std::path::Path;

use millrace_core::{
    document::{self, Faults, Source},
    pipeline::{ApiVersion, Metadata},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operand;

/// The features of a model, one by one, in the order of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The version of this document's form.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

/// The kind of this document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// Features.
    Features,
}

/// What the document says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The features.
    #[schemars(length(min = 1, max = 4096))]
    pub features: Vec<Feature>,
}

/// One number that is computed from a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Appears in reasons.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,62}$"))]
    pub name: String,
    /// How it is computed.
    pub op: Op,
    /// What it is computed from.
    pub of: Of,
    /// How a number is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// For `distance`: more differences than this are not told apart. 16 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub bound: Option<u32>,
    /// For `among`: the values that count, whatever the case of their letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// For `category`: how many rows of the mean a category's own mean is mixed with. 10 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1_000_000.0))]
    pub smoothing: Option<f64>,
    /// The feature's value where the writer's version of the record has no such field and no default for it. Without
    /// it, the feature is missing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<f32>,
}

/// Operations. Where an operand is null the result is missing, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The number.
    Numeric,
    /// 1 for true, 0 for false.
    Flag,
    /// 1 for null, else 0.
    Missing,
    /// How long: characters of a text, bytes, items of an array or a map.
    Length,
    /// The first number divided by the second.
    Ratio,
    /// The hour of a timestamp, 0 to 23, in UTC.
    Hour,
    /// The day of a timestamp's week, Monday is 0, in UTC.
    Weekday,
    /// 1 if both are equal (letters of either case), else 0.
    Equal,
    /// In how many places two texts differ, up to the bound.
    Distance,
    /// 1 if the array holds the text (letters of either case), else 0.
    Contains,
    /// 1 if the value is one of those listed, else 0; 0 for null.
    Among,
    /// How often records of this value were positive: a learned number, for values with few or with many rows. Null is
    /// a value.
    Category,
    /// How often this combination of values was seen before, on a logarithmic scale: a learned counter.
    Seen,
    /// Of the records with this combination of all values but the last, the share that has this last one too.
    Share,
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// As it is.
    #[default]
    Linear,
    /// By its order of magnitude: log2(1 + x), straight between powers of two; odd, for numbers below zero.
    Log,
}

/// One operand, or several in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Of {
    /// One.
    One(String),
    /// Several.
    Many(#[schemars(length(min = 1, max = 8))] Vec<String>),
}

impl Of {
    /// The operands as they are written.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    /// The operands, if all of them are some; [`check`](super::check) says which are not.
    pub(super) fn operands(&self) -> Option<Vec<Operand>> {
        self.texts().iter().map(|text| Operand::parse(text).ok()).collect()
    }
}

impl Document {
    /// Reads a document; what can be told without an event schema is checked.
    pub fn parse(source: &Source) -> Result<Self, Faults> {
        let document: Self = document::load(source)?;
        super::check::form(&document, source).into_result().map(|()| document)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<(Self, Source), Faults> {
        let source = Source::read(path)?;
        Self::parse(&source).map(|document| (document, source))
    }

    /// The features.
    pub fn features(&self) -> &[Feature] {
        &self.spec.features
    }
}

impl Op {
    /// As documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Flag => "flag",
            Self::Missing => "missing",
            Self::Length => "length",
            Self::Ratio => "ratio",
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Equal => "equal",
            Self::Distance => "distance",
            Self::Contains => "contains",
            Self::Among => "among",
            Self::Category => "category",
            Self::Seen => "seen",
            Self::Share => "share",
        }
    }
}
