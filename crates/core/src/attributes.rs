//! Attributes of an exchange that a processor is told with the first message of a direction (Envoy
//! `request_attributes`, `response_attributes`).

mod expression;

use std::collections::BTreeMap;

use self::expression::Source;
pub use self::expression::{InvalidExpression, NamedAttribute};
use crate::{Direction, Headers};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A text; what has no type of its own on the wire (times, addresses) as well.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

/// The attributes that a direction's first message carries, as the configuration lists them: read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct List(Vec<(String, Source)>);

impl List {
    /// # Errors
    /// The first expression that is none.
    pub(crate) fn read(attributes: &[NamedAttribute]) -> Result<Self, (String, InvalidExpression)> {
        let read = |it: &NamedAttribute| match Source::read(&it.expression) {
            Ok(source) => Ok((it.name.clone(), source)),
            Err(error) => Err((it.expression.clone(), error)),
        };
        attributes.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The attributes that no headers tell.
    pub(crate) fn untold(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, source)| source.untold())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is known of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// What the data plane has told.
    told: BTreeMap<String, Attribute>,
    /// By direction, what goes out with its first message.
    ready: [BTreeMap<String, Attribute>; 2],
    /// What the response's list asks about the request.
    of_request: BTreeMap<String, Attribute>,
}

impl Attributes {
    pub(crate) fn tell(&mut self, name: &str, value: Attribute) {
        self.told.insert(name.to_owned(), value);
    }

    /// Headers came, as the filter sees them.
    pub(crate) fn read(&mut self, direction: Direction, headers: &Headers, lists: [&List; 2]) {
        let of = |list: &List, told: Option<&BTreeMap<String, Attribute>>| -> BTreeMap<String, Attribute> {
            let value = |source: &Source| {
                source.of_headers(direction, headers).or_else(|| told?.get(source.untold()?).cloned())
            };
            list.0.iter().filter_map(|(name, source)| Some((name.clone(), value(source)?))).collect()
        };
        match direction {
            Direction::Request => {
                self.ready[0] = of(lists[0], Some(&self.told));
                self.of_request = of(lists[1], None);
            }
            Direction::Response => {
                self.ready[1] = std::mem::take(&mut self.of_request);
                self.ready[1].append(&mut of(lists[1], Some(&self.told)));
            }
        }
    }

    /// What the next message of the direction carries: once, and nothing if nothing is known.
    pub(crate) fn take(&mut self, direction: Direction) -> BTreeMap<String, Attribute> {
        std::mem::take(&mut self.ready[direction as usize])
    }
}
