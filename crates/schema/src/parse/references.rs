//! Types that come from other schemas.

use super::{ParseError, Pointer, parser::Parser};
use crate::{Kind, NodeId, Schema};

impl Parser {
    /// Takes the nodes of `reference` over. A type that an earlier reference brought is the same or an error.
    pub(super) fn adopt(&mut self, reference: &Schema) -> Result<(), ParseError> {
        let places: Vec<NodeId> = self.places(reference)?;
        for (i, place) in places.iter().enumerate() {
            if place.index() < self.nodes.len() {
                continue;
            }
            let mut node = reference.node(NodeId(i as u32)).clone();
            let moved = |id: &mut NodeId| *id = places[id.index()];
            match &mut node.kind {
                Kind::Array(part) | Kind::Map(part) => moved(part),
                Kind::Union(branches) => branches.iter_mut().for_each(moved),
                Kind::Record(record) => record.fields.iter_mut().for_each(|field| moved(&mut field.node)),
                _ => {}
            }
            if let Some(name) = node.name() {
                self.names.insert(name.full().to_owned(), *place);
            } else if node.props.is_empty() && crate::Type::primitive(node.ty().as_str()).is_some() {
                self.plain.push((node.ty(), *place));
            }
            self.nodes.push(node);
        }
        Ok(())
    }

    /// Where each node of `reference` goes: to the node that is here already, or behind all that are.
    fn places(&self, reference: &Schema) -> Result<Vec<NodeId>, ParseError> {
        let mut next = self.nodes.len() as u32;
        let mut places = Vec::with_capacity(reference.size());
        for i in 0..reference.size() {
            let id = NodeId(i as u32);
            let node = reference.node(id);
            let known = match node.name() {
                Some(name) => self.names.get(name.full()).copied(),
                None => None,
            };
            if let (Some(known), Some(name)) = (known, node.name()) {
                if self.nodes[known.index()].shape() != node.shape() {
                    let message = format!("two references define {:?} differently", name.full());
                    return Err(Pointer::Root.error(message));
                }
                places.push(known);
            } else {
                places.push(NodeId(next));
                next += 1;
            }
        }
        Ok(places)
    }
}

/// What must agree between two definitions of one name: the parts' names, not their places.
#[derive(PartialEq)]
enum Shape<'a> {
    Fields(Vec<&'a str>),
    Symbols(&'a [String]),
    Size(usize),
}

impl crate::Node {
    fn shape(&self) -> Option<Shape<'_>> {
        match &self.kind {
            Kind::Record(it) => Some(Shape::Fields(it.fields.iter().map(|field| field.name.as_str()).collect())),
            Kind::Enum(it) => Some(Shape::Symbols(&it.symbols)),
            Kind::Fixed(it) => Some(Shape::Size(it.size)),
            _ => None,
        }
    }
}
