//! Which processors a request passes: chains of all levels, merged.
//!
//! A policy is attached to a gateway, a listener, a route or a rule. The chains of these levels are joined in that
//! order, the outermost first; several policies of one level in the order of the file. An entry whose name an outer
//! level has already used does not come again: it changes the outer one in its place, field by field. Entries that
//! are `disabled` after that are left out. A policy with `replace` drops what the outer levels gave.

use crate::config::ext_proc::ExtProc;
use crate::config::file::Policy;
use crate::config::{At, Problems};

/// The merged chain of one rule, in request order. `levels` are the policies of each level, the outermost first.
///
/// Every entry has a name.
pub(crate) fn merge(levels: &[Vec<&Policy>], problems: &mut Problems) -> Vec<ExtProc> {
    let mut chain: Vec<(String, ExtProc)> = Vec::new();
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
            match chain.iter_mut().find(|(known, _)| *known == name.value) {
                Some((_, outer)) => *outer = std::mem::take(outer).overlaid(entry.clone()),
                None => {
                    let mut entry = entry.clone();
                    entry.name = Some(name.clone());
                    chain.push((name.value, entry));
                }
            }
        }
    }
    chain.retain(|(_, entry)| !entry.disabled.is_some_and(|it: At<bool>| it.value));
    chain.into_iter().map(|(_, entry)| entry).collect()
}
