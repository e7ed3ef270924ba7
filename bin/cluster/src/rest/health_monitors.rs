//! Health monitors.

use mn_api_types::{self as api, HealthMonitorType, Media};
use mn_ids::HealthMonitorId;
use mn_topology::{Check, HealthMonitor};

use super::endpoint::Resource;
use super::exposed::{Exposed, create, delete_if_there, list, read, update};
use super::links::Links;
use super::pools::positive;
use super::problem::Problem;

pub fn resource() -> Resource {
    Resource::new(Media::HEALTH_MONITOR, &api::HealthMonitor::DESCRIPTION)
        .top("health_monitors", Some("healthMonitors"), Some("healthMonitorTemplate"))
        .list("/health_monitors", list::<HealthMonitor>)
        .create("/health_monitors", create::<HealthMonitor>)
        .read("/health_monitors/{id}", read::<HealthMonitor>)
        .update("/health_monitors/{id}", update::<HealthMonitor>)
        .delete("/health_monitors/{id}", delete_if_there::<HealthMonitor>)
}

impl Exposed for HealthMonitor {
    type Document = api::HealthMonitor;
    const COLLECTION: &'static str = "health_monitors";

    fn chosen_id(sent: &api::HealthMonitor) -> Option<HealthMonitorId> {
        sent.id
    }

    fn from_document(
        id: HealthMonitorId,
        sent: api::HealthMonitor,
        _old: Option<Self>,
    ) -> Result<Self, Problem> {
        Ok(Self {
            id,
            admin_state_up: sent.admin_state_up,
            delay: positive("delay", sent.delay)?,
            timeout: positive("timeout", sent.timeout)?,
            max_retries: positive("maxRetries", sent.max_retries)?,
            check: check(sent)?,
        })
    }

    fn to_document(&self, links: &Links) -> api::HealthMonitor {
        let uri = links.object("health_monitors", self.id);
        let (kind, url_path, expected_codes) = match &self.check {
            Check::Tcp => (HealthMonitorType::Tcp, None, None),
            Check::Http { url_path, expected_codes } => {
                let path = url_path.as_str().to_owned();
                (HealthMonitorType::Http, Some(path), Some(expected_codes.to_string()))
            }
            Check::Udp => (HealthMonitorType::Udp, None, None),
        };
        api::HealthMonitor {
            id: Some(self.id),
            kind: Some(kind),
            delay: self.delay.get(),
            timeout: self.timeout.get(),
            max_retries: self.max_retries.get(),
            admin_state_up: self.admin_state_up,
            url_path,
            expected_codes,
            pools: Some(format!("{uri}/pools")),
            uri: Some(uri),
        }
    }
}

/// A page goes with HTTP alone.
fn check(sent: api::HealthMonitor) -> Result<Check, Problem> {
    let kind = sent.kind.ok_or_else(|| Problem::required("type"))?;
    if kind != HealthMonitorType::Http {
        for (property, given) in
            [("urlPath", sent.url_path), ("expectedCodes", sent.expected_codes)]
        {
            if let Some(value) = given {
                let reason = format!("means nothing to a monitor of type {kind}");
                return Err(Problem::field(property, value, reason));
            }
        }
        return Ok(if kind == HealthMonitorType::Udp { Check::Udp } else { Check::Tcp });
    }
    Ok(Check::Http {
        url_path: parsed("urlPath", sent.url_path)?,
        expected_codes: parsed("expectedCodes", sent.expected_codes)?,
    })
}

/// A text that means something, or what goes without saying.
fn parsed<T>(property: &str, sent: Option<String>) -> Result<T, Problem>
where
    T: Default + std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(text) = sent else { return Ok(T::default()) };
    text.parse().map_err(|error: T::Err| Problem::field(property, text.as_str(), error.to_string()))
}
