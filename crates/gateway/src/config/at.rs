//! Values that remember where in the file they stand.

use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_saphyr::{Location, Spanned};

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 1.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
}

impl Position {
    pub(super) fn of(location: Location) -> Option<Self> {
        (location != Location::UNKNOWN).then(|| Self { line: location.line(), column: location.column() })
    }
}

/// A value and the place where it was read; none for values made by a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it begins.
    pub position: Option<Position>,
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, position: None }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Equal values are equal wherever they stand.
impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, position: Position::of(referenced) })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// A key that we know and do not implement: its use is an error, unless it says that the feature is off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsupported {
    /// Where the value stands, if it asks for the feature.
    used: Option<Option<Position>>,
}

impl Unsupported {
    /// Whether the feature is asked for, and where.
    pub(super) fn used(&self) -> Option<Option<Position>> {
        self.used
    }

    /// The other one, if it asks for the feature, else this one.
    pub(super) fn overlaid(self, other: Self) -> Self {
        if other.used.is_some() { other } else { self }
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value: Wanted(wanted), position } = At::deserialize(deserializer)?;
        Ok(Self { used: wanted.then_some(position) })
    }
}

/// Whether a value of any type is something else than `false`, null or an empty list.
struct Wanted(bool);

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WantedVisitor)
    }
}

struct WantedVisitor;

impl<'de> Visitor<'de> for WantedVisitor {
    type Value = Wanted;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Wanted, E> {
        Ok(Wanted(value))
    }

    fn visit_unit<E>(self) -> Result<Wanted, E> {
        Ok(Wanted(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Wanted, E> {
        Ok(Wanted(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Wanted, E> {
        Ok(Wanted(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Wanted, E> {
        Ok(Wanted(true))
    }

    fn visit_str<E>(self, _: &str) -> Result<Wanted, E> {
        Ok(Wanted(true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Wanted, A::Error> {
        let mut wanted = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            wanted = true;
        }
        Ok(Wanted(wanted))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wanted, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Wanted(true))
    }
}
