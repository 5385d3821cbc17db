//! Which processors a request passes: chains of all levels, merged.
//!
//! A policy is attached to a gateway, a listener, a route or a rule. The chains of these levels are joined in that
//! order, the outermost first; several policies of one level in the order of the file. An entry whose name an outer
//! level has already used does not come again: it changes the outer one in its place, field by field. Entries that
//! are `disabled` after that are left out. What an entry says as `per_route` is merged by Envoy's rules, and is
//! stronger. A policy with `replace` drops what the outer levels gave.

use extproc_core::overrides::Overrides;

use crate::config::ext_proc::{ExtProc, Level};
use crate::config::file::Policy;
use crate::config::{At, Problems, ProcessorRef};

/// An entry of a chain: what all levels say field by field, and what they say as Envoy's `ExtProcPerRoute`.
pub(crate) struct Merged {
    pub(crate) entry: ExtProc,
    pub(crate) overrides: Overrides<At<ProcessorRef>>,
}

/// An entry while levels are joined.
struct Known {
    name: String,
    entry: ExtProc,
    levels: Vec<Level>,
}

/// The merged chain of one rule, in request order. `levels` are the policies of each level, the outermost first.
///
/// Every entry has a name.
pub(crate) fn merge(levels: &[Vec<&Policy>], problems: &mut Problems) -> Vec<Merged> {
    let mut chain: Vec<Known> = Vec::new();
    for policies in levels {
        if policies.iter().any(|it| it.replace.is_some_and(|it| it.value)) {
            chain.clear();
        }
        let mut used: Vec<String> = Vec::new();
        for (policy, entry) in policies.iter().flat_map(|policy| policy.ext_proc.iter().map(move |it| (policy, it))) {
            let Some(name) = entry.effective_name() else {
                let position = entry.processor.as_ref().and_then(|it| it.position).or(policy.name.position);
                problems.push(position, format!("policy `{}` has an entry without name", *policy.name));
                continue;
            };
            if used.contains(&name.value) {
                let message = format!("a second entry `{}` at the same level; give it another name", *name);
                problems.push(name.position, message);
                continue;
            }
            used.push(name.value.clone());
            let level = entry.level(problems);
            match chain.iter_mut().find(|known| known.name == name.value) {
                Some(outer) => {
                    outer.entry = std::mem::take(&mut outer.entry).overlaid(entry.clone());
                    outer.levels.extend(level);
                }
                None => {
                    let mut entry = entry.clone();
                    entry.name = Some(name.clone());
                    chain.push(Known { name: name.value, entry, levels: level.into_iter().collect() });
                }
            }
        }
    }
    let merged = chain.into_iter().map(|Known { entry, levels, .. }| match Level::merged(levels) {
        Some(Level::Disabled) => None,
        Some(Level::Overrides(overrides)) => Some(Merged { entry, overrides }),
        None => Some(Merged { entry, overrides: Overrides::default() }),
    });
    merged.flatten().collect()
}
