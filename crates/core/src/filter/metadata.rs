//! Dynamic metadata that goes to the processor and comes from it (Envoy `metadata_options`).

use std::time::Instant;

use super::link::Stream;
use super::{Filter, StreamEvent};
use crate::metadata::DynamicMetadata;
use crate::violation::Violation;
use crate::wire;

impl Filter {
    /// What the processor is to know of the exchange's metadata and of the upstream's, as far as it is forwarded.
    pub(crate) fn show_metadata(&mut self, known: &DynamicMetadata, of_cluster: Option<&DynamicMetadata>) {
        let options = &self.config.options().metadata_options;
        if options.forwarding_namespaces.is_empty() && options.cluster_metadata_forwarding_namespaces.is_empty() {
            return;
        }
        let mut context = wire::Metadata::default();
        if let Some(of_cluster) = of_cluster {
            of_cluster.show(&options.cluster_metadata_forwarding_namespaces, &mut context);
        }
        known.show(&options.forwarding_namespaces, &mut context);
        self.link.metadata = Some(context);
    }

    /// What of a message's metadata counts, also when the message is out of place. As in Envoy, a message that extends the
    /// timeout says nothing else, and one that is no answer at all says nothing.
    pub(crate) fn take_metadata(&self, event: &mut StreamEvent) -> Option<DynamicMetadata> {
        let StreamEvent::Reply(message) = event else { return None };
        let options = self.config.options();
        let (namespaces, flat) =
            (&options.metadata_options.receiving_namespaces, options.profile.flat_metadata_namespace());
        let extends = message.override_message_timeout.is_some() && options.profile.reads_controls();
        let unwanted = options.observability_mode || namespaces.is_empty() && flat.is_none();
        if unwanted || extends || message.response.is_none() || self.link.stream != Stream::Open {
            return None;
        }
        let (values, typed) = (message.dynamic_metadata.take(), std::mem::take(&mut message.typed_dynamic_metadata));
        let received = match flat {
            Some(namespace) => DynamicMetadata::flat(values, namespace),
            None => DynamicMetadata::lifted(values, typed, namespaces),
        };
        (!received.is_empty()).then_some(received)
    }

    /// The processor sent more metadata than an exchange may have.
    pub(crate) fn refuse_metadata(&mut self, now: Instant) {
        self.link.stats.stream_msgs_received += 1;
        self.link.calls.heard();
        self.fail(now, Violation::MetadataTooLarge.into());
        self.balance(now);
    }
}
