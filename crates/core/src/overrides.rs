//! What a virtual host, a route or a rule says otherwise (Envoy `ExtProcPerRoute`), and what comes of it together.

use crate::metadata::{MetadataOptions, Namespaces};
use crate::{Options, ProcessingMode};

/// What one level says of a filter (Envoy `ExtProcPerRoute`). `S` says where a processor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerRoute<S> {
    /// The filter is off, whatever less specific levels say.
    Disabled,
    /// It is on, and these settings take the place of less specific ones. Without any it is on as well.
    Overrides(Overrides<S>),
}

/// The settings that a level may override (Envoy `ExtProcOverrides`). What is absent is inherited.
///
/// All others stay those of the filter. So does the mode that a processor's `mode_override` starts from: it is the
/// filter's own, never the overridden one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrides<S> {
    /// Replaced as a whole.
    pub processing_mode: Option<ProcessingMode>,
    /// Replaced as a whole, with its initial metadata.
    pub service: Option<Service<S>>,
    /// Replaced list by list.
    pub metadata_options: MetadataOverrides,
    /// Merged by key with that of other levels, and then into that of the service.
    pub grpc_initial_metadata: Vec<(String, String)>,
    /// Replaced.
    pub failure_mode_allow: Option<bool>,
}

/// A processor, and what it is told as metadata of each gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service<S> {
    /// Where it is.
    pub target: S,
    /// Names and values.
    pub initial_metadata: Vec<(String, String)>,
}

/// Lists of namespaces; one that is present, if only empty, takes the place of a less specific one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataOverrides {
    /// See [`MetadataOptions::forwarding_namespaces`].
    pub forwarding_namespaces: Option<Namespaces>,
    /// See [`MetadataOptions::receiving_namespaces`].
    pub receiving_namespaces: Option<Namespaces>,
    /// See [`MetadataOptions::cluster_metadata_forwarding_namespaces`].
    pub cluster_metadata_forwarding_namespaces: Option<Namespaces>,
}

impl<S> Default for Overrides<S> {
    fn default() -> Self {
        Self {
            processing_mode: None,
            service: None,
            metadata_options: MetadataOverrides::default(),
            grpc_initial_metadata: Vec::new(),
            failure_mode_allow: None,
        }
    }
}

impl<S> PerRoute<S> {
    /// What levels say together, the least specific first. Whether the filter is on is decided by the most specific
    /// one alone; `Disabled` also ends what is inherited. `None` when no level says anything.
    pub fn merged(levels: impl IntoIterator<Item = Self>) -> Option<Self> {
        levels.into_iter().reduce(|less, more| match (less, more) {
            (_, Self::Disabled) => Self::Disabled,
            (Self::Disabled, more @ Self::Overrides(_)) => more,
            (Self::Overrides(less), Self::Overrides(more)) => Self::Overrides(less.overridden_by(more)),
        })
    }
}

impl<S> Overrides<S> {
    fn overridden_by(self, more: Self) -> Self {
        let mut grpc_initial_metadata = self.grpc_initial_metadata;
        merge_by_key(&mut grpc_initial_metadata, more.grpc_initial_metadata);
        let (less_options, more_options) = (self.metadata_options, more.metadata_options);
        Self {
            processing_mode: more.processing_mode.or(self.processing_mode),
            service: more.service.or(self.service),
            metadata_options: MetadataOverrides {
                forwarding_namespaces: more_options.forwarding_namespaces.or(less_options.forwarding_namespaces),
                receiving_namespaces: more_options.receiving_namespaces.or(less_options.receiving_namespaces),
                cluster_metadata_forwarding_namespaces: more_options
                    .cluster_metadata_forwarding_namespaces
                    .or(less_options.cluster_metadata_forwarding_namespaces),
            },
            grpc_initial_metadata,
            failure_mode_allow: more.failure_mode_allow.or(self.failure_mode_allow),
        }
    }

    /// The processor that comes of it, where the filter itself names `service`.
    pub fn service(&self, service: Service<S>) -> Service<S>
    where
        S: Clone,
    {
        let mut service = self.service.clone().unwrap_or(service);
        merge_by_key(&mut service.initial_metadata, self.grpc_initial_metadata.clone());
        service
    }

    /// Changes the options of a filter. The mode is not among them: see [`Config::overridden`](crate::Config::overridden).
    pub(crate) fn apply(&self, options: &mut Options) {
        let replace = |namespaces: &mut Namespaces, by: &Option<Namespaces>| {
            if let Some(by) = by {
                namespaces.clone_from(by);
            }
        };
        let MetadataOptions { forwarding_namespaces, receiving_namespaces, cluster_metadata_forwarding_namespaces } =
            &mut options.metadata_options;
        let by = &self.metadata_options;
        replace(forwarding_namespaces, &by.forwarding_namespaces);
        replace(receiving_namespaces, &by.receiving_namespaces);
        replace(cluster_metadata_forwarding_namespaces, &by.cluster_metadata_forwarding_namespaces);
        options.failure_mode_allow = self.failure_mode_allow.unwrap_or(options.failure_mode_allow);
    }
}

/// A name that is there gets the new value in its place; others go behind.
fn merge_by_key(entries: &mut Vec<(String, String)>, more: Vec<(String, String)>) {
    for (key, value) in more {
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => entries.push((key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BodyMode;

    type Level = PerRoute<&'static str>;

    fn overrides(change: impl FnOnce(&mut Overrides<&'static str>)) -> Level {
        let mut overrides = Overrides::default();
        change(&mut overrides);
        Level::Overrides(overrides)
    }

    fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn untyped(names: &[&str]) -> Namespaces {
        Namespaces { untyped: names.iter().map(|name| (*name).to_owned()).collect(), typed: Vec::new() }
    }

    #[test]
    fn env_372_373_the_most_specific_level_alone_decides_whether_it_is_on() {
        let nothing = || overrides(|_| {});
        let open = || overrides(|it| it.failure_mode_allow = Some(true));
        for (levels, expected) in [
            (vec![], None),
            (vec![Level::Disabled], Some(Level::Disabled)),
            (vec![Level::Disabled, nothing()], Some(nothing())),
            (vec![open(), Level::Disabled], Some(Level::Disabled)),
            (vec![open(), Level::Disabled, nothing()], Some(nothing())),
            (vec![open(), nothing()], Some(open())),
        ] {
            assert_eq!(Level::merged(levels.clone()), expected, "{levels:?}");
        }
    }

    #[test]
    fn env_374_each_setting_by_its_own_rule() {
        let buffered = ProcessingMode { request_body: BodyMode::Buffered, ..ProcessingMode::default() };
        let streamed = ProcessingMode { response_body: BodyMode::Streamed, ..ProcessingMode::default() };
        let service = |target, entries| Some(Service { target, initial_metadata: pairs(entries) });
        let less = overrides(|it| {
            it.processing_mode = Some(buffered);
            it.service = service("a", &[("of", "a")]);
            it.metadata_options.forwarding_namespaces = Some(untyped(&["less"]));
            it.metadata_options.receiving_namespaces = Some(untyped(&["less"]));
            it.grpc_initial_metadata = pairs(&[("x", "1"), ("y", "1")]);
            it.failure_mode_allow = Some(true);
        });
        let more = overrides(|it| {
            it.processing_mode = Some(streamed);
            it.service = service("b", &[("of", "b"), ("y", "b")]);
            it.metadata_options.forwarding_namespaces = Some(untyped(&[]));
            it.grpc_initial_metadata = pairs(&[("y", "2"), ("z", "2")]);
        });
        let Some(Level::Overrides(merged)) = Level::merged([less, more]) else { panic!("overrides") };
        assert_eq!(merged.processing_mode, Some(streamed), "as a whole");
        assert_eq!(merged.failure_mode_allow, Some(true), "inherited");
        assert_eq!(merged.grpc_initial_metadata, pairs(&[("x", "1"), ("y", "2"), ("z", "2")]), "by key");

        let service = merged.service(Service { target: "filter", initial_metadata: pairs(&[("of", "filter")]) });
        let entries = [("of", "b"), ("y", "2"), ("x", "1"), ("z", "2")];
        assert_eq!(service, Service { target: "b", initial_metadata: pairs(&entries) });

        let mut options = Options::default();
        options.metadata_options.forwarding_namespaces = untyped(&["filter"]);
        options.metadata_options.receiving_namespaces = untyped(&["filter"]);
        options.metadata_options.cluster_metadata_forwarding_namespaces = untyped(&["filter"]);
        merged.apply(&mut options);
        assert!(options.failure_mode_allow);
        let namespaces = &options.metadata_options;
        assert_eq!(namespaces.forwarding_namespaces, untyped(&[]), "an empty list is one");
        assert_eq!(namespaces.receiving_namespaces, untyped(&["less"]));
        assert_eq!(namespaces.cluster_metadata_forwarding_namespaces, untyped(&["filter"]));
    }

    #[test]
    fn without_a_service_of_its_own_the_metadata_is_merged_into_that_of_the_filter() {
        let overrides = Overrides { grpc_initial_metadata: pairs(&[("x-r", "1")]), ..Overrides::default() };
        let service = overrides.service(Service { target: "filter", initial_metadata: pairs(&[("x-f", "1")]) });
        assert_eq!(service.target, "filter");
        assert_eq!(service.initial_metadata, pairs(&[("x-f", "1"), ("x-r", "1")]));
    }
}
