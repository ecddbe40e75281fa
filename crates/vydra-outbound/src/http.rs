//! What every HTTP client of ours has in common: one TLS configuration, and nothing that acts by itself.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::Verifier;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const USER_AGENT: &str = concat!("vydra/", env!("CARGO_PKG_VERSION"));

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the tls settings are not usable")]
    Tls(#[from] rustls::Error),
    #[error("the http client could not be set up")]
    Client(#[from] reqwest::Error),
}

/// Makes clients, which share the system's certificates: loading them takes longer than all the rest.
#[derive(Debug, Clone)]
pub(crate) struct ClientFactory {
    tls: ClientConfig,
}

impl ClientFactory {
    pub(crate) fn new() -> Result<Self, SetupError> {
        static LOADED: OnceLock<ClientConfig> = OnceLock::new();
        if let Some(tls) = LOADED.get() {
            return Ok(Self { tls: tls.clone() });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = tls_config(&provider, Verifier::new(Arc::clone(&provider)))?;
        Ok(Self {
            tls: LOADED.get_or_init(|| tls).clone(),
        })
    }

    /// For whoever moves large bodies to and from one host: in HTTP/2 they would all share one connection.
    pub(crate) fn http1(mut self) -> Self {
        self.tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        self
    }

    /// A builder without proxies of the environment, redirects, retries, cookies, referrers and decoding: whoever
    /// builds with it adds the timeouts of the whole request and of the body, and the size limit.
    pub(crate) fn builder(&self, connect: Duration) -> reqwest::ClientBuilder {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the limited clients come from"
        )]
        let builder = reqwest::Client::builder();
        builder
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(USER_AGENT)
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            // Off already while reqwest's features are; another crate of the workspace could switch those on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
    }
}

fn tls_config(
    provider: &Arc<CryptoProvider>,
    system: Result<Verifier, rustls::Error>,
) -> Result<ClientConfig, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?;
    let mut tls = match system {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        // A container without certificates can still call plain http, such as a provider next door. Trusting nobody
        // makes every https call fail, which is right.
        Err(error) => {
            tracing::warn!(error = %error, "no usable system certificates, every https call will fail");
            builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_certificates_still_gets_a_client() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let nothing = Err(rustls::Error::General("no certificates".to_owned()));
        let factory = ClientFactory {
            tls: tls_config(&provider, nothing).unwrap(),
        };
        factory.builder(Duration::from_secs(1)).build().unwrap();
    }
}
