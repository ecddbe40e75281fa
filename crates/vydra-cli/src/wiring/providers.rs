//! The providers of a configuration, each with the client that has its key.

use crate::config::{Config, Hosted, HostedAuth, Kind};
use crate::system::SystemClock;
use anyhow::{Context, bail};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::catalog::Catalog;
use vydra_outbound::provider::Provider;
use vydra_outbound::providers::a1111::A1111;
use vydra_outbound::providers::comfyui::ComfyUi;
use vydra_outbound::providers::elevenlabs::ElevenLabs;
use vydra_outbound::providers::fal::Fal;
use vydra_outbound::providers::gemini::{self, Gemini};
use vydra_outbound::providers::http::{Description, Http};
use vydra_outbound::providers::local::Local;
use vydra_outbound::providers::openai::OpenAi;
use vydra_outbound::providers::replicate::Replicate;
use vydra_outbound::providers::sandbox::Sandbox;
use vydra_outbound::providers::vertex::{Key, Vertex};
use vydra_outbound::providers::xai::Xai;
use vydra_outbound::registry::{Bounds, Registry};
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};

pub fn providers(config: &Config, catalog: &Catalog) -> anyhow::Result<Registry> {
    let local = Arc::new(if config.local_is_instant() {
        Local::instant().context("the ready-made files could not be made")?
    } else {
        // Drawing takes a whole core each; one more than there are would only make every picture late.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Local::new(cores)
    });
    let mut registry = Registry::default();
    registry.set_sandbox(Arc::new(Sandbox::new(local.clone())));
    for hosted in config.hosted_providers()? {
        let bounds = Bounds {
            concurrency: hosted.concurrency,
            daily_credits: hosted.daily_credits,
        };
        let name = hosted.name.clone();
        if hosted.kind == Kind::Http {
            check_descriptions(&name, catalog)?;
        }
        let provider = provider(hosted)
            .with_context(|| format!("configuration section providers.{name} cannot be used"))?;
        registry.add_hosted(provider, bounds);
    }
    if config.local_is_fallback() {
        registry.set_fallback(local);
    } else {
        registry.add(local);
    }
    Ok(registry)
}

/// What a catalogue says of a server must be understood before anybody pays for it.
fn check_descriptions(provider: &str, catalog: &Catalog) -> anyhow::Result<()> {
    for model in catalog.models() {
        for route in model
            .routes
            .iter()
            .filter(|route| route.provider == provider)
        {
            if let Err(problem) = Description::read(&route.settings) {
                bail!(
                    "model {}: the settings of its route to {provider}: {problem}",
                    model.slug
                );
            }
        }
    }
    Ok(())
}

fn provider(hosted: Hosted) -> anyhow::Result<Arc<dyn Provider>> {
    let Hosted {
        name,
        kind,
        key,
        base_url,
        timeout,
        auth,
        check_path,
        ..
    } = hosted;
    if kind == Kind::Vertex {
        return vertex(name, &key, base_url, timeout);
    }
    let credential = match kind {
        _ if key.is_empty() => Credential::None,
        Kind::Fal => Credential::Scheme("Key", key),
        Kind::Gemini => Credential::Header(gemini::KEY_HEADER.to_owned(), key),
        Kind::ElevenLabs => Credential::Header("xi-api-key".to_owned(), key),
        Kind::OpenAi | Kind::Vertex | Kind::Xai | Kind::Replicate => Credential::bearer(key),
        Kind::OpenAiCompatible | Kind::ComfyUi | Kind::A1111 | Kind::Http => match auth {
            HostedAuth::Usual if kind == Kind::A1111 => Credential::Basic(key),
            // It has no keys of its own: this is what the proxy before it asks for.
            HostedAuth::Usual if kind == Kind::ComfyUi && key.reveal().contains(':') => {
                Credential::Basic(key)
            }
            HostedAuth::Usual | HostedAuth::Bearer => Credential::bearer(key),
            HostedAuth::Basic => Credential::Basic(key),
            HostedAuth::Header(header) => Credential::Header(header, key),
        },
    };
    let upstream = Arc::new(Upstream::new(&UpstreamSettings {
        base_url,
        credential,
        timeout,
    })?);
    Ok(match kind {
        Kind::Fal => Arc::new(Fal::new(name, upstream)),
        Kind::OpenAi => Arc::new(OpenAi::new(name, upstream)),
        Kind::OpenAiCompatible | Kind::Vertex => Arc::new(OpenAi::compatible(name, upstream)),
        Kind::Gemini => Arc::new(Gemini::new(name, upstream)),
        Kind::Xai => Arc::new(Xai::new(name, upstream)),
        Kind::Replicate => Arc::new(Replicate::new(name, upstream)),
        Kind::ElevenLabs => Arc::new(ElevenLabs::new(name, upstream)),
        Kind::ComfyUi => Arc::new(ComfyUi::new(name, upstream)),
        Kind::A1111 => Arc::new(A1111::new(name, upstream)),
        Kind::Http => Arc::new(Http::new(name, upstream, check_path)),
    })
}

/// Its key changes by the hour, and is made from that of a service account.
fn vertex(
    name: String,
    key: &Secret,
    base_url: String,
    timeout: Duration,
) -> anyhow::Result<Arc<dyn Provider>> {
    let key = Key::read(key)?;
    let base_url = match base_url.as_str() {
        "" => key
            .base_url()
            .context("base_url must be given where the key is no service account's: it names the project and the region")?,
        _ => base_url,
    };
    let upstream = Arc::new(Upstream::new(&UpstreamSettings {
        base_url,
        credential: Credential::None,
        timeout,
    })?);
    Ok(Arc::new(Vertex::new(
        name,
        upstream,
        key,
        Arc::new(SystemClock),
    )))
}
