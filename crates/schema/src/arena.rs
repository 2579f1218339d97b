//! A whole schema: its nodes in one place, names resolved.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Guid, Node, NodeId, ParseError, canonical, java, parse};

/// An Avro schema. Cheap to clone; never changes. Its nodes live in an arena, so a type may hold itself.
#[derive(Clone)]
pub struct Schema {
    arena: Arc<Arena>,
    root: NodeId,
}

/// The nodes of a schema. Those of its references come first.
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
    pub(crate) referenced: usize,
}

impl Schema {
    /// Reads a schema that stands alone.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, &[])
    }

    /// Reads a schema that may use the named types of `references`, each of which may use those before it.
    pub fn parse_with(text: &str, references: &[Self]) -> Result<Self, ParseError> {
        let (arena, root) = parse::parse(text, references)?;
        Ok(Self { arena: Arc::new(arena), root })
    }

    /// Where it begins.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The node at that place.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.arena.nodes[id.index()]
    }

    /// The node where it begins.
    pub fn root_node(&self) -> &Node {
        self.node(self.root)
    }

    /// How many nodes there are: every [`NodeId::index`] is below this.
    pub fn size(&self) -> usize {
        self.arena.nodes.len()
    }

    /// The schema of one of its types, sharing the nodes.
    #[must_use]
    pub fn at(&self, id: NodeId) -> Self {
        assert!(id.index() < self.size(), "a node of another schema");
        Self { arena: Arc::clone(&self.arena), root: id }
    }

    /// All nodes, by [`NodeId::index`].
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.arena.nodes
    }

    /// Whether the node came with a reference and not with the text itself.
    pub(crate) fn is_referenced(&self, id: NodeId) -> bool {
        id.index() < self.arena.referenced
    }

    /// The Parsing Canonical Form of the specification.
    pub fn canonical(&self) -> String {
        canonical::render(self)
    }

    /// CRC-64-AVRO of the canonical form: the fingerprint of the specification.
    pub fn rabin(&self) -> u64 {
        canonical::rabin(self.canonical().as_bytes())
    }

    /// What Java's `Schema.toString()` gives for the same text: compact, with docs, defaults, aliases and other
    /// attributes. Types of references appear by name.
    pub fn java_string(&self) -> String {
        java::render(self, java::References::Named)
    }

    /// As [`Schema::java_string`], with the types of references written out where they are used first: it stands alone.
    pub fn standalone(&self) -> String {
        java::render(self, java::References::Inlined)
    }

    /// The id that the text itself gives; [`Guid::with_references`] for a schema that has some.
    pub fn guid(&self) -> Guid {
        Guid::of(self)
    }
}

impl FromStr for Schema {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.java_string()).finish()
    }
}
