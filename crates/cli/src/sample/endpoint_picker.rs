//! `endpoint-picker`: sends each request to the endpoint with the fewest requests under way, as the pickers of the
//! Gateway API's inference extension do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use extproc::{End, LocalReply, Open, Processor, RequestHead, Skip, Start, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Both a header and a key of the metadata namespace `envoy.lb` carry the choice.
const DESTINATION: &str = "x-gateway-destination-endpoint";
/// The data plane may narrow the choice: `IP:PORT` with commas between, in this namespace and key.
const SUBSET: (&str, &str) = ("envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset");

#[derive(Debug)]
pub(crate) struct EndpointPicker {
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Endpoint {
    address: String,
    running: AtomicUsize,
}

/// One exchange.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    subset: Option<String>,
    /// The endpoint's place in the list, once it is chosen.
    picked: Option<usize>,
}

impl EndpointPicker {
    pub(super) const KEYS: &[Key] = &[key("endpoint", "IP:PORT, repeatable", "one of the endpoints")];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut endpoints = Vec::new();
        for text in settings.all("endpoint") {
            let address: SocketAddr =
                text.parse().map_err(|_| settings.wrong("endpoint", format_args!("{text:?} must be IP:PORT")))?;
            endpoints.push(Endpoint { address: address.to_string(), running: AtomicUsize::new(0) });
        }
        if endpoints.is_empty() {
            return Err(settings.missing("endpoint=127.0.0.1:8000"));
        }
        Ok(Self { endpoints, next: AtomicUsize::new(0) })
    }

    /// The least busy of those that may be chosen; equally busy ones in turn. Two exchanges may choose at once and not
    /// see each other: the balance is approximate, the count is exact.
    fn pick(&self, subset: Option<&str>) -> Option<usize> {
        let allowed = |endpoint: &Endpoint| {
            subset.is_none_or(|subset| subset.split(',').any(|address| address.trim() == endpoint.address))
        };
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let places = (0..self.endpoints.len()).map(|offset| (start.wrapping_add(offset)) % self.endpoints.len());
        let picked = places.filter(|place| allowed(&self.endpoints[*place]));
        let picked = picked.min_by_key(|place| self.endpoints[*place].running.load(Ordering::Relaxed))?;
        self.endpoints[picked].running.fetch_add(1, Ordering::Relaxed);
        Some(picked)
    }
}

impl Processor for EndpointPicker {
    type Ctx = Ctx;
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, open: &Open) -> Ctx {
        Ctx { subset: open.metadata_text(SUBSET.0, SUBSET.1).map(str::to_owned), picked: None }
    }

    async fn request_headers(&self, ctx: &mut Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        ctx.picked = self.pick(ctx.subset.as_deref());
        let picked = ctx.picked.ok_or_else(|| LocalReply::unavailable().details("no_endpoint"))?;
        let address = self.endpoints[picked].address.as_str();
        req.set(DESTINATION, address);
        req.metadata("envoy.lb", DESTINATION, address);
        // Routes may look at the header.
        req.clear_route();
        Ok(())
    }

    /// Also when the client left or the endpoint failed: otherwise it would look busy for ever.
    fn close(&self, ctx: Ctx, _: End) {
        if let Some(picked) = ctx.picked {
            self.endpoints[picked].running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use extproc::testing::Script;

    use super::*;

    fn picker() -> EndpointPicker {
        EndpointPicker::new(&Settings::test(&["endpoint=10.0.0.1:80", "endpoint=10.0.0.2:80"])).expect("valid")
    }

    #[tokio::test]
    async fn the_choice_is_told_in_header_and_metadata() {
        let picker = Arc::new(picker());
        for address in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"] {
            let lines = Script::new().request_only([(DESTINATION, "10.9.9.9:80")]).run_shared(&picker).await.lines();
            let expected = format!("request_headers {DESTINATION}={address} route envoy.lb.{DESTINATION}:{address:?}");
            assert_eq!(lines, [expected]);
        }
        let running: Vec<_> =
            picker.endpoints.iter().map(|endpoint| endpoint.running.load(Ordering::Relaxed)).collect();
        assert_eq!(running, [0, 0], "all are over");
    }

    #[test]
    fn the_least_busy_of_those_that_are_allowed() {
        let picker = picker();
        assert_eq!([picker.pick(Some("10.0.0.2:80")), picker.pick(Some("1.1.1.1:1, 10.0.0.2:80"))], [Some(1); 2]);
        assert_eq!([picker.pick(None), picker.pick(None)], [Some(0); 2], "until both have two");
        assert_eq!([picker.pick(Some("")), picker.pick(Some("10.0.0.3:80"))], [None; 2]);
    }
}
