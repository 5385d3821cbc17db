//! The log of header edits, folded and lowered so that every data plane does the same.

use extproc_proto::{HeaderAppendAction, HeaderMutation, HeaderValue, HeaderValueOption};

use crate::Headers;
use crate::headers::{Name, Value};

/// What an author did to a header map, in order, not yet on the wire.
///
/// [`lower`](Self::lower) folds it: one name never stands in both lists of the mutation, because data planes disagree
/// on which list comes first. Each entry carries both the deprecated `append` flag, the only one Envoy 1.40 honours,
/// and `append_action`, the only one gRPC honours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    names: Vec<Folded>,
}

/// The final state of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folded {
    name: Name,
    base: Base,
    values: Vec<Value>,
}

/// What becomes of the values that the data plane has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// They stay; our values are added.
    Keep,
    /// They go; our values, possibly none, take their place.
    Replace,
    /// There are none as far as we see; ours are added unless the data plane knows better.
    Absent,
    /// There is at least one as far as we see; ours take their place.
    Present,
}

impl HeaderEdits {
    /// No edit.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: Vec::new() }
    }

    /// Whether nothing would go on the wire.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Replaces every value of the name, or adds it.
    ///
    /// A name that is set again takes its place behind what was set since: Envoy moves an overwritten header to the
    /// end, so processors of a chain leave the order behind that they would as filters of their own.
    pub fn set(&mut self, name: Name, value: Value) {
        self.names.retain(|folded| folded.name != name);
        self.names.push(Folded { name, base: Base::Replace, values: vec![value] });
    }

    /// Adds a value, keeping those that are there.
    pub fn append(&mut self, name: Name, value: Value) {
        self.entry(name).values.push(value);
    }

    /// Removes every value of the name. Removing an absent name is harmless.
    pub fn remove(&mut self, name: Name) {
        let entry = self.entry(name);
        entry.base = Base::Replace;
        entry.values.clear();
    }

    /// Adds the value unless `view`, the header map with all edits applied, has the name. False when it has.
    ///
    /// With forward rules the processor does not see every header; a data plane that ignores `append_action` (Envoy
    /// does) overwrites a header that was hidden.
    pub fn set_if_absent(&mut self, view: &Headers, name: Name, value: Value) -> bool {
        if view.contains(name.as_str()) {
            return false;
        }
        self.conditional(Base::Absent, name, value);
        true
    }

    /// Replaces the values of the name if `view`, the header map with all edits applied, has it. False when it has not.
    pub fn set_if_present(&mut self, view: &Headers, name: Name, value: Value) -> bool {
        if !view.contains(name.as_str()) {
            return false;
        }
        self.conditional(Base::Present, name, value);
        true
    }

    /// The mutation for the wire; `None` when nothing was edited.
    #[must_use]
    pub fn lower(self) -> Option<HeaderMutation> {
        if self.names.is_empty() {
            return None;
        }
        let mut mutation = HeaderMutation::default();
        for Folded { name, base, values } in self.names {
            if values.is_empty() {
                // No data plane lets a pseudo header be removed.
                if !name.is_pseudo() {
                    mutation.remove_headers.push(name.as_str().to_owned());
                }
                continue;
            }
            let first = match base {
                Base::Keep => HeaderAppendAction::AppendIfExistsOrAdd,
                Base::Replace => HeaderAppendAction::OverwriteIfExistsOrAdd,
                Base::Absent => HeaderAppendAction::AddIfAbsent,
                Base::Present => HeaderAppendAction::OverwriteIfExists,
            };
            let actions = std::iter::once(first).chain(std::iter::repeat(HeaderAppendAction::AppendIfExistsOrAdd));
            for (value, action) in values.into_iter().zip(actions) {
                mutation.set_headers.push(option(name.clone(), value, action));
            }
        }
        Some(mutation)
    }

    fn conditional(&mut self, seen: Base, name: Name, value: Value) {
        // Once an earlier edit decided what the data plane will have, its own state no longer matters.
        let decided = self.names.iter().any(|f| f.name == name);
        let entry = self.entry(name);
        entry.base = if decided { Base::Replace } else { seen };
        entry.values = vec![value];
    }

    fn entry(&mut self, name: Name) -> &mut Folded {
        let at = self.names.iter().position(|f| f.name == name).unwrap_or_else(|| {
            self.names.push(Folded { name, base: Base::Keep, values: Vec::new() });
            self.names.len() - 1
        });
        &mut self.names[at]
    }
}

fn option(name: Name, value: Value, action: HeaderAppendAction) -> HeaderValueOption {
    let append = (action == HeaderAppendAction::AppendIfExistsOrAdd).then_some(true);
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into_bytes(), raw_value: value.into_bytes(), ..HeaderValue::default() }),
        append,
        append_action: action.into(),
        keep_empty_value: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Name = Name::from_static("a");
    const B: Name = Name::from_static("b");

    fn v(text: &'static str) -> Value {
        Value::from_static(text)
    }

    /// `name=value` set, `name+=value` appended, `name?=value` if absent, `name!=value` if present, `-name` removed.
    fn printed(edits: HeaderEdits) -> String {
        let Some(mutation) = edits.lower() else { return "none".to_owned() };
        let set = mutation.set_headers.iter().map(|o| {
            let header = o.header.as_ref().unwrap();
            let (sign, append) = match o.append_action() {
                HeaderAppendAction::AppendIfExistsOrAdd => ("+=", Some(true)),
                HeaderAppendAction::AddIfAbsent => ("?=", None),
                HeaderAppendAction::OverwriteIfExistsOrAdd => ("=", None),
                HeaderAppendAction::OverwriteIfExists => ("!=", None),
            };
            assert_eq!(o.append, append, "both ways to say it must agree");
            assert!(header.value.is_empty(), "only raw_value is written");
            format!("{}{sign}{}", header.key.escape_ascii(), header.raw_value.escape_ascii())
        });
        set.chain(mutation.remove_headers.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn folding() {
        type Step = fn(&mut HeaderEdits);
        let rows: [(&str, &[Step], &str); 10] = [
            ("nothing", &[], "none"),
            ("set", &[|e| e.set(A, v("1"))], "a=1"),
            ("set again", &[|e| e.set(A, v("1")), |e| e.set(B, v("2")), |e| e.set(A, v("3"))], "b=2 a=3"),
            ("append twice", &[|e| e.append(A, v("1")), |e| e.append(A, v("2"))], "a+=1 a+=2"),
            ("several values", &[|e| e.set(A, v("1")), |e| e.append(A, v("2"))], "a=1 a+=2"),
            ("set after remove", &[|e| e.remove(A), |e| e.set(A, v("1"))], "a=1"),
            ("remove after set", &[|e| e.set(A, v("1")), |e| e.remove(A)], "-a"),
            ("append after remove", &[|e| e.remove(A), |e| e.append(A, v("1"))], "a=1"),
            ("remove twice", &[|e| e.remove(A), |e| e.remove(A)], "-a"),
            ("pseudo headers stay", &[|e| e.remove(Name::from_static(":path"))], ""),
        ];
        for (what, steps, expected) in rows {
            let mut edits = HeaderEdits::new();
            steps.iter().for_each(|step| step(&mut edits));
            assert_eq!(printed(edits), expected, "{what}");
        }
    }

    #[test]
    fn conditional_edits_are_resolved_against_the_view() {
        let with: Headers = [(A, v("0"))].into_iter().collect();
        let without = Headers::new();
        let absent = |view: &Headers, before: fn(&mut HeaderEdits)| {
            let mut edits = HeaderEdits::new();
            before(&mut edits);
            edits.set_if_absent(view, A, v("1"));
            printed(edits)
        };
        let present = |view: &Headers, before: fn(&mut HeaderEdits)| {
            let mut edits = HeaderEdits::new();
            before(&mut edits);
            edits.set_if_present(view, A, v("1"));
            printed(edits)
        };
        assert_eq!(absent(&with, |_| {}), "none");
        assert_eq!(absent(&without, |_| {}), "a?=1");
        assert_eq!(absent(&without, |e| e.remove(A)), "a=1", "the data plane still has the removed one");
        assert_eq!(present(&with, |_| {}), "a!=1");
        assert_eq!(present(&without, |_| {}), "none");
        assert_eq!(present(&with, |e| e.set(A, v("0"))), "a=1", "the data plane may not have ours");
    }
}
